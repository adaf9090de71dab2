package protocol

// replica is a replica. Runs are numbered; of masks of runs each has one bit.
type replica struct {
	phase     replicaPhase
	installed uint8 // runs whose candidates it knows
	marked    uint8 // runs that it has acknowledged, and whose candidates that it used recently it has marked
	abandoned uint8 // runs whose collector it has seen to be dead for long enough
	used      Set   // within the last hour
	late      Set   // writes that were sent before a crash or the end of a lease, and have not taken effect
	rescued   [maxRuns]Set
}

type replicaPhase uint8

const (
	down replicaPhase = iota
	fenced
	registered
	joined // knows the runs, and has not marked yet what it used
	serving
)

// sees is whether the replica marks candidates of a run, and looks at its seals.
func (r *replica) sees(s *state, number int) bool {
	return r.installed&^r.abandoned&(1<<number) != 0 && s.runs[number].phase != ended
}

// replica adds what a replica can do next, and what can happen to it.
func (e *explorer) replica(s *state, r int) {
	n := *s
	replica := &n.replicas[r]
	step := func(what string, of Set) { e.then(n, Step{actor: "replica", number: r, what: what, objects: of}) }
	switch replica.phase {
	case down, fenced:
		replica.phase = registered
		if e.Weakness == ServeFirst {
			replica.phase = serving
		}
		step("writes a registration under a new name", 0)
	case registered:
		replica.phase = joined
		for number := range e.Runs {
			if s.runs[number].visible() {
				e.install(&n, r, number)
			}
		}
		step("reads the runs and installs their candidates", 0)
	case joined:
		replica.phase = serving
		for number := range e.Runs {
			if replica.installed&(1<<number) != 0 {
				e.markRecent(&n, r, number)
			}
		}
		step("marks what it has used, acknowledges, and serves", replica.used)
	case serving:
		for number := range e.Runs {
			e.poll(s, r, number)
		}
	}
	e.mishaps(s, r)
}

// poll adds what a serving replica does for a run.
func (e *explorer) poll(s *state, r, number int) {
	n := *s
	replica, run := &n.replicas[r], &n.runs[number]
	bit := uint8(1) << number
	step := func(what string) { e.then(n, Step{actor: "replica", number: r, what: what, run: number + 1}) }
	switch {
	case !run.visible():
	case replica.installed&bit == 0:
		if e.Weakness == SharedRun && number < e.Runs-1 && s.runs[number+1].visible() {
			return // overwritten
		}
		e.install(&n, r, number)
		step("installs the candidates")
	case replica.marked&bit == 0 && (e.Weakness == AckAtOnce || !e.older(s, r, bit)):
		e.markRecent(&n, r, number)
		step("marks what it has used, and acknowledges")
	}
	n, replica, run = *s, &n.replicas[r], &n.runs[number]
	late := run.late != 0 && e.Weakness != AbandonAtOnce
	if replica.sees(s, number) && run.stopped && !late {
		replica.abandoned |= bit
		replica.rescued[number] = 0
		step("abandons the run: its collector shows no sign of life")
	}
}

// install makes a replica mark the candidates of a run from now on.
func (e *explorer) install(n *state, r, number int) {
	replica := &n.replicas[r]
	replica.installed |= 1 << number
	if e.Weakness == SharedRun && number > 0 {
		replica.installed &^= 1 << (number - 1)
	}
	for c := range e.Clients {
		if section := &n.clients[c]; e.worksFor(section, c, r) && !section.gap {
			section.older |= 1 << number
		}
	}
}

// worksFor is whether a replica is working for a client.
func (e *explorer) worksFor(section *client, c, r int) bool {
	return section.phase != idle && e.Clients[c][section.request].Replica == r
}

// older is whether sections go on that began before a replica installed a run.
func (e *explorer) older(s *state, r int, bit uint8) bool {
	for c := range e.Clients {
		if section := &s.clients[c]; section.older&bit != 0 && e.worksFor(section, c, r) {
			return true
		}
	}
	return false
}

// markRecent marks what a replica has used recently, and acknowledges the run.
func (e *explorer) markRecent(n *state, r, number int) {
	replica, run := &n.replicas[r], &n.runs[number]
	replica.marked |= 1 << number
	run.awaited &^= 1 << r
	run.mark(replica.used&run.candidates, e)
	if e.Weakness == RecentUnasked {
		replica.rescued[number] |= replica.used & run.candidates
	}
}

// mishaps adds that a replica crashes, that its lease lapses, and that an hour passes.
func (e *explorer) mishaps(s *state, r int) {
	up, late := s.replicas[r].phase, s.replicas[r].late
	if late != 0 {
		n := *s
		n.replicas[r].late &= late - 1
		e.then(n, Step{actor: "replica", number: r, what: "had sent a write, which is lost", objects: late & -late})
		n.stored |= late & -late
		e.isUsed(&n, late&-late)
		e.then(n, Step{actor: "replica", number: r, what: "had sent a write, which takes effect late", objects: late & -late})
	}
	if up != down && s.crashes > 0 {
		n := *s
		n.crashes--
		e.forget(&n, r)
		n.replicas[r] = replica{late: late | e.sent(s, r)}
		for c := range e.Clients {
			if section := &n.clients[c]; e.worksFor(section, c, r) {
				section.end()
			}
		}
		e.then(n, Step{actor: "replica", number: r, what: "crashes"})
	}
	if up != down && up != fenced && s.lapses > 0 {
		n := *s
		n.lapses--
		e.forget(&n, r)
		n.replicas[r] = replica{phase: fenced, used: s.replicas[r].used, late: late | e.sent(s, r)}
		for c := range e.Clients {
			if section := &n.clients[c]; e.worksFor(section, c, r) {
				section.gap, section.older = true, 0
			}
		}
		e.then(n, Step{actor: "replica", number: r, what: "cannot renew its lease, which runs out"})
	}
	if e.Hours && s.replicas[r].used != 0 {
		n := *s
		n.replicas[r].used = 0
		for c := range e.Clients {
			section := &n.clients[c]
			section.hour = section.hour || e.worksFor(section, c, r)
		}
		e.voidPromises(&n, r)
		e.then(n, Step{actor: "replica", number: r, what: "has not been asked for anything for an hour"})
	}
}

// sent are the writes that a replica has sent, and which have not taken effect.
func (e *explorer) sent(s *state, r int) Set {
	var sent Set
	for c := range e.Clients {
		if section := &s.clients[c]; section.phase == writing && e.worksFor(section, c, r) && !section.gap {
			sent |= 1 << section.at
		}
	}
	return sent
}

// forget is what the end of a lease means to others: collectors do not wait for the
// replica any more, and what it promised may not be there when it is needed.
func (e *explorer) forget(n *state, r int) {
	for i := range n.runs {
		n.runs[i].awaited &^= 1 << r
	}
	e.voidPromises(n, r)
}

func (e *explorer) voidPromises(n *state, r int) {
	for i := range n.clients {
		if c := &n.clients[i]; c.promised != 0 && int(c.promiser) == r {
			c.promised, c.promiser = 0, 0
		}
	}
}
