package protocol

// run is a run of a collector.
type run struct {
	phase   runPhase
	batch   uint8 // the one that is next, or being removed
	stopped bool  // the collector has crashed, or its own fence is closed
	awaited uint8 // replicas that have to acknowledge, one bit for each

	at, seen   Set // of a look: the roots that were read, and those of them that were there
	candidates Set // garbage in the first look
	garbage    Set // what may still go: garbage in both looks, and not spared
	marks      Set
	final      Set // of this batch
	todo       Set // of the final list: not deleted yet
	sent       Set // a delete that was sent, and has not taken effect
	late       Set // the same, after the collector has stopped

	unused Set // garbage that nobody has used, or could reach, since the run began
	since  Set // of the final list: committed again, and acknowledged
}

type runPhase uint8

const (
	notStarted runPhase = iota
	firstLook
	publishing
	listing
	waiting
	secondLook
	sealing
	readingMarks
	finalizing
	deleting
	ended
)

func (r *run) visible() bool { return r.phase > publishing && r.phase < ended }

// sealed, decided and done are whether a batch has a seal, a final list, and is done with.
func (r *run) sealed(batch uint8) bool {
	return r.done(batch) || batch == r.batch && r.phase > sealing
}

func (r *run) decided(batch uint8) bool {
	return r.done(batch) || batch == r.batch && r.phase == deleting
}
func (r *run) done(batch uint8) bool { return batch < r.batch || r.phase == ended }

// mark writes marks. Those that come after the list of a batch's marks make no
// difference.
func (r *run) mark(objects Set, e *explorer) {
	for ; objects != 0; objects &= objects - 1 {
		batch := e.batch[objects.first()]
		if batch > r.batch || batch == r.batch && r.phase <= readingMarks {
			r.marks |= objects & -objects
		}
	}
}

// collector adds what the collector of a run can do next.
func (e *explorer) collector(s *state, number int) {
	e.stop(s, number)
	if s.runs[number].stopped || s.runs[number].phase == ended {
		return
	}
	n := *s
	r := &n.runs[number]
	step := func(what string, of Set) {
		e.then(n, Step{actor: "collector", number: number, what: what, objects: of})
	}
	switch r.phase {
	case notStarted:
		if number > 0 && s.runs[number-1].phase == notStarted {
			return // the runs are alike: this one is the second
		}
		r.phase, r.unused = firstLook, e.unused(s)
		step("begins", 0)
	case firstLook, secondLook:
		e.read(s, number)
	case publishing:
		r.phase = listing
		if e.Weakness == ListFirst {
			r.phase = waiting
		}
		step("publishes the candidates", r.candidates)
	case listing:
		e.await(&n, number)
		r.phase = waiting
		if e.Weakness == ListFirst {
			r.phase = publishing
		}
		step("lists the replicas", 0)
	case waiting:
		e.wait(s, number)
	case sealing:
		r.phase = readingMarks
		step("seals", e.Batches[r.batch])
	case readingMarks:
		marks := r.marks & e.Batches[r.batch]
		if e.Weakness != ShallowMarks {
			marks = e.reached[marks]
		}
		r.garbage &^= marks
		r.phase = finalizing
		step("lists the marks", r.marks&e.Batches[r.batch])
	case finalizing:
		r.final = r.garbage & e.Batches[r.batch]
		r.todo, r.phase = r.final, deleting
		step("writes the final list", r.final)
	case deleting:
		e.sweep(s, number)
	}
}

// unused is the garbage that is neither in use nor was used within the hour.
func (e *explorer) unused(s *state) Set {
	kept := s.stored & e.roots
	for r := range e.Replicas {
		kept |= s.replicas[r].used | s.replicas[r].late
	}
	for c := range e.Clients {
		if section := &s.clients[c]; section.phase != idle {
			kept |= e.Clients[c][section.request].Uses
		}
	}
	return s.stored &^ e.reached[kept]
}

// read adds the reading of the next root, or of all at once; with the last one comes
// what the look has found.
func (e *explorer) read(s *state, number int) {
	n := *s
	r := &n.runs[number]
	next := e.roots &^ r.at
	if e.Piecewise && next != 0 {
		next &= -next
	}
	r.at |= next
	r.seen |= next & s.stored
	step := Step{actor: "collector", number: number, what: "reads", objects: next}
	if r.at != e.roots {
		e.then(n, step)
		return
	}
	garbage := s.stored &^ e.reached[r.seen]
	r.at, r.seen = 0, 0
	if r.phase == firstLook {
		r.candidates, r.garbage, r.phase = garbage, garbage, publishing
		if e.Weakness == ListFirst {
			r.phase = listing
		}
		step.what += ", the last of the first look"
	} else {
		r.garbage = r.candidates & garbage
		if e.Weakness != NewGarbageIgnored {
			r.garbage &^= e.reached[garbage&^r.candidates]
		}
		r.phase = sealing
		e.skip(&n, number)
		step.what += ", the last of the second look"
	}
	e.then(n, step)
}

// await makes a run wait for the replicas that are registered and have not yet
// acknowledged it.
func (e *explorer) await(n *state, number int) {
	for i := range e.Replicas {
		if r := &n.replicas[i]; r.phase >= registered && r.marked&(1<<number) == 0 {
			n.runs[number].awaited |= 1 << i
		}
	}
}

func (e *explorer) wait(s *state, number int) {
	n := *s
	r := &n.runs[number]
	var late Set
	for i := range e.Replicas {
		late |= s.replicas[i].late
	}
	if r.awaited == 0 && (late == 0 || e.Weakness == LateWrites) {
		r.phase = secondLook
		if e.Weakness == NoSecondLook {
			r.phase = sealing
			e.skip(&n, number)
		}
		e.then(n, Step{actor: "collector", number: number, what: "has all acknowledgements"})
		return
	}
	if e.Weakness == RenewedUnseen {
		for i := range e.Replicas {
			if r.awaited&(1<<i) != 0 && s.replicas[i].installed&(1<<number) == 0 {
				n := *s
				n.runs[number].awaited &^= 1 << i
				e.then(n, Step{actor: "collector", number: number, what: "sees no sign of life of a replica"})
			}
		}
	}
}

// skip passes over batches of which nothing may go; after the last one the run has ended.
func (e *explorer) skip(n *state, number int) {
	r := &n.runs[number]
	for int(r.batch) < len(e.Batches) && r.garbage&e.Batches[r.batch] == 0 {
		r.batch++
	}
	if int(r.batch) < len(e.Batches) {
		return
	}
	if r.unused&n.stored != 0 {
		n.failure = garbageLeft
	}
	*r = run{phase: ended, late: r.late}
}

// sweep adds the next delete, its effect, or the end of a batch.
func (e *explorer) sweep(s *state, number int) {
	n := *s
	r := &n.runs[number]
	step := func(what string, of Set) {
		e.then(n, Step{actor: "collector", number: number, what: what, objects: of})
	}
	switch {
	case r.sent != 0:
		of := r.sent
		e.remove(&n, number, of)
		r.sent = 0
		step("has deleted", of)
	case r.todo != 0 && e.Weakness == DeletesInAnyOrder:
		for todo := r.todo; todo != 0; todo &= todo - 1 {
			n := *s
			r := &n.runs[number]
			r.sent = todo & -todo
			r.todo &^= r.sent
			e.then(n, Step{actor: "collector", number: number, what: "sends the delete of", objects: r.sent})
		}
	case r.todo != 0: // what needs others goes before them
		r.sent = 1 << r.todo.last()
		r.todo &^= r.sent
		step("sends the delete of", r.sent)
	default:
		r.final, r.since, r.phase = 0, 0, sealing
		r.batch++
		e.skip(&n, number)
		step("is done with the batch", 0)
	}
}

// remove is the effect of a delete.
func (e *explorer) remove(n *state, number int, of Set) {
	if n.runs[number].since&of != 0 {
		n.failure = commitDeleted
	}
	n.stored &^= of
}

// stop adds that a collector crashes or finds its fence closed, and what its deletes
// do then.
func (e *explorer) stop(s *state, number int) {
	n := *s
	r := &n.runs[number]
	step := func(what string, of Set) {
		e.then(n, Step{actor: "collector", number: number, what: what, objects: of})
	}
	if r.late != 0 {
		of := r.late
		r.late = 0
		step("had sent a delete, which is lost", of)
		e.remove(&n, number, of)
		step("had sent a delete, which takes effect late", of)
		n = *s
	}
	switch {
	case r.stopped && e.Weakness == NoFence && r.late == 0:
		r.stopped = false
		step("goes on", 0)
	case r.stopped && e.Weakness == TakenOver && r.phase == deleting && !e.abandoned(s, number):
		r.stopped = false
		r.todo |= r.late
		step("is succeeded by another one, which goes on", 0)
	case !r.stopped && s.stops > 0 && r.phase != notStarted && r.phase != ended:
		n.stops--
		if r.visible() {
			r.stopped, r.late, r.sent, r.unused = true, r.sent, 0, 0
		} else {
			*r = run{phase: ended}
		}
		step("crashes, or finds its fence closed", 0)
	}
}

// abandoned is whether a replica has abandoned a run.
func (e *explorer) abandoned(s *state, number int) bool {
	for r := range e.Replicas {
		if s.replicas[r].abandoned&(1<<number) != 0 {
			return true
		}
	}
	return false
}
