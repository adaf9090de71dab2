package protocol

// fault is an invariant that does not hold.
type fault uint8

const (
	holds fault = iota
	pushBroken
	promiseBroken
	storedBroken
	garbageLeft
	commitDeleted
)

func (f fault) String() string {
	return [...]string{
		holds:         "",
		pushBroken:    "something that an acknowledged push needs is gone",
		promiseBroken: "something is going, or gone, that a client was told is there",
		storedBroken:  "something is stored without all that it needs",
		garbageLeft:   "something is left that was garbage throughout the run",
		commitDeleted: "a delete has taken what was committed again after the final list",
	}[f]
}

// check is what does not hold in a state. A step has noticed what is no matter of a
// single state.
func (e *explorer) check(s *state) fault {
	if s.failure != holds {
		return s.failure
	}
	if e.reached[s.pushed]&^s.stored != 0 {
		return pushBroken
	}
	var promised, going Set
	for c := range e.Clients {
		promised |= s.clients[c].promised
	}
	for i := range e.Runs {
		if run := &s.runs[i]; !run.stopped {
			going |= run.todo | run.sent
		}
	}
	if promised&^(s.stored&^going) != 0 {
		return promiseBroken
	}
	// Of what is left out of the protocol it is to be shown that it loses something, which
	// may come later.
	if e.Weakness == None && e.reached[s.stored&^going]&^s.stored != 0 {
		return storedBroken
	}
	return holds
}
