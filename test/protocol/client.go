package protocol

// client is a client, and the section of the request that it has sent.
type client struct {
	request  uint8 // its number
	phase    sectionPhase
	at       uint8 // where in the phase: an object, and the number of a run before it
	gap      bool  // the lease was not valid all the time since the section began
	deleted  bool  // a user has deleted meanwhile what is being pushed
	hour     bool  // has passed meanwhile: the answer promises nothing any more
	older    uint8 // the runs that were installed after the section had begun, one bit for each
	promised Set   // what the last answer promised
	promiser uint8 // the replica that has given it
}

type sectionPhase uint8

const (
	idle sectionPhase = iota
	marking
	asking // whether what was marked is sealed
	looking
	writing
	answering
)

// client adds what a client, and the replica that works for it, can do next.
func (e *explorer) client(s *state, c int) {
	before := &s.clients[c]
	if int(before.request) >= len(e.Clients[c]) {
		return
	}
	request := &e.Clients[c][before.request]
	n := *s
	section := &n.clients[c]
	step := func(what string, of Set) {
		e.then(n, Step{actor: "client", number: c, request: request, what: what, objects: of})
	}
	object, number := int(before.at)%maxObjects, int(before.at)/maxObjects
	switch before.phase {
	case idle:
		e.begin(s, c, request)
	case marking:
		n.runs[number].mark(1<<object, e)
		section.phase = asking
		if e.Weakness == NoLookAtSeal {
			e.passed(&n, c, request, number, object)
		}
		step("marks", 1<<object)
	case asking:
		e.ask(s, c, request, number, object)
	case looking:
		if !s.stored.has(object) {
			e.answerGone(s, c, request, object)
			return
		}
		e.look(section, request, object+1)
		step("finds", 1<<object)
	case writing:
		if e.lapsed(s, section, request) && e.Weakness != LateWrites {
			section.end()
			step("is told to come again (503) before it writes, because of the lease: ", 1<<object)
			return
		}
		n.stored |= 1 << object
		e.write(section, request, object+1)
		step("writes (or finds)", 1<<object)
	case answering:
		e.answer(s, c, request)
	}
}

// begin adds the begin of a section.
func (e *explorer) begin(s *state, c int, request *Request) {
	n := *s
	if request.Deletes != 0 {
		n.stored &^= request.Deletes
		n.pushed &^= request.Deletes
		for i := range e.Clients {
			other := &n.clients[i]
			other.deleted = other.deleted || other.phase != idle && e.Clients[i][other.request].Pushed&request.Deletes != 0
			other.promised &^= request.Deletes
		}
		n.clients[c].request = uint8(request.Next)
		e.then(n, Step{actor: "client", number: c, request: request, what: "deletes", objects: request.Deletes})
		return
	}
	replica := &n.replicas[request.Replica]
	if replica.phase != serving {
		return
	}
	replica.used |= request.Uses
	e.isUsed(&n, request.Uses)
	e.use(&n, c, request, 0)
	e.then(n, Step{actor: "client", number: c, request: request, what: "begins"})
}

// isUsed takes what is used, and what that reaches, out of what a run has to remove.
func (e *explorer) isUsed(n *state, objects Set) {
	for i := range n.runs {
		n.runs[i].unused &^= e.reached[objects]
	}
}

// use goes on to the first object, at or after a place, that has to be marked: a
// candidate that the replica has not used since it installed the run.
func (e *explorer) use(n *state, c int, request *Request, at int) {
	replica, section := &n.replicas[request.Replica], &n.clients[c]
	for number := at / maxObjects; number < e.Runs; number++ {
		if replica.sees(n, number) {
			todo := request.Uses & n.runs[number].candidates &^ replica.rescued[number]
			if todo = todo.from(at % maxObjects); todo != 0 {
				section.phase, section.at = marking, uint8(number*maxObjects+todo.first())
				return
			}
		}
		at = 0
	}
	e.look(section, request, 0)
}

// ask adds what follows from the seal of a batch, its final list, and its end.
func (e *explorer) ask(s *state, c int, request *Request, number, object int) {
	n, run, batch := *s, &s.runs[number], e.batch[object]
	step := func(what string) {
		e.then(n, Step{actor: "client", number: c, request: request, what: what, objects: 1 << object, run: number + 1})
	}
	switch {
	case !s.replicas[request.Replica].sees(s, number):
		e.use(&n, c, request, int(s.clients[c].at)+1)
		step("sees that the run has ended, before it asks for")
	case !run.sealed(batch) || run.decided(batch) && !run.final.has(object) && !run.done(batch):
		e.passed(&n, c, request, number, object)
		step("sees as spared")
	case run.done(batch):
		e.use(&n, c, request, int(s.clients[c].at)+1)
		step("sees the batch done with")
	case run.decided(batch) && (request.Writes == 0 || e.Weakness == RefusedEarly && !request.Writes.has(object)):
		e.answerGone(s, c, request, object)
	case run.decided(batch) && request.Writes.has(object) && e.Weakness == NoWaitOfCommits:
		e.use(&n, c, request, int(s.clients[c].at)+1)
		step("does not wait for the delete of")
	case run.decided(batch) && !request.Writes.has(object) && e.Weakness == StillStored:
		e.use(&n, c, request, int(s.clients[c].at)+1)
		step("looks whether it is still stored, although it goes:")
	default: // it waits, for a few seconds
		n.clients[c].end()
		step("is told to come again (503), because of the seal over")
	}
}

// passed is the use of an object that the run spares.
func (e *explorer) passed(n *state, c int, request *Request, number, object int) {
	n.replicas[request.Replica].rescued[number] |= 1 << object
	e.use(n, c, request, int(n.clients[c].at)+1)
}

func (e *explorer) look(section *client, request *Request, object int) {
	if todo := request.Looks.from(object); todo != 0 {
		section.phase, section.at = looking, uint8(todo.first())
		return
	}
	e.write(section, request, 0)
}

func (e *explorer) write(section *client, request *Request, object int) {
	if todo := request.Writes.from(object); todo != 0 {
		section.phase, section.at = writing, uint8(todo.first())
		return
	}
	section.phase, section.at = answering, 0
}

// answer adds the answer of a request that succeeded: what it found and wrote was there.
func (e *explorer) answer(s *state, c int, request *Request) {
	n := *s
	section := &n.clients[c]
	step := Step{actor: "client", number: c, request: request}
	if e.lapsed(s, section, request) {
		section.end()
		step.what = "is told to come again (503), because of the lease"
		e.then(n, step)
		return
	}
	if !section.deleted {
		n.pushed |= request.Pushed
	}
	for i := range n.runs {
		if run := &n.runs[i]; run.phase == deleting {
			run.since |= request.Writes & run.final
		}
	}
	promised := request.Promised
	if section.hour {
		promised = 0
	}
	section.end()
	section.request = uint8(request.Next)
	section.promised, section.promiser = 0, 0
	if promised != 0 {
		section.promised, section.promiser = promised, uint8(request.Replica)
	}
	step.what, step.objects = "is answered: success", request.Promised|request.Pushed
	e.then(n, step)
}

// lapsed is whether there is a gap in the lease since the section began.
func (e *explorer) lapsed(s *state, section *client, request *Request) bool {
	invalid := s.replicas[request.Replica].phase != serving
	switch e.Weakness {
	case NoLookAtLease:
		return false
	case GapForgiven:
		return invalid
	}
	return section.gap || invalid
}

// answerGone adds the answer that something is not there.
func (e *explorer) answerGone(s *state, c int, request *Request, object int) {
	n := *s
	section := &n.clients[c]
	if section.promised.has(object) {
		n.failure = promiseBroken
	}
	section.end()
	section.promised = 0
	section.request = uint8(request.Gone)
	e.then(n, Step{actor: "client", number: c, request: request, what: "is answered: there is no", objects: 1 << object})
}

// end is the end of a section. What was promised to the client stays.
func (c *client) end() {
	*c = client{request: c.request, promised: c.promised, promiser: c.promiser}
	if c.promised == 0 {
		c.promiser = 0
	}
}
