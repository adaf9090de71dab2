package protocol

import "math/bits"

// Set is a set of the objects of a World, one bit for each.
type Set uint8

const maxObjects = 8

func (s Set) has(object int) bool { return s&(1<<object) != 0 }

// first and last are the objects of the set with the lowest and the highest number.
func (s Set) first() int { return bits.TrailingZeros8(uint8(s)) }
func (s Set) last() int  { return 7 - bits.LeadingZeros8(uint8(s)) }

// from is the part of the set that begins at an object.
func (s Set) from(object int) Set { return s >> object << object }

// An Object is something in the storage that a collector may remove: the bytes of a
// blob, a link, a manifest (its revision), a tag. What an object needs has a lower
// number than the object itself, except where two need each other.
type Object struct {
	Name  string
	Needs Set  // what has to be there too: the objects that a sweep keeps because of this one
	Root  bool // kept without being needed: a tag, or a manifest unless untagged ones are removed
}

// World is what is explored: objects, clients with what they do, and what may fail.
type World struct {
	Name     string
	Objects  []Object
	Stored   Set   // at the beginning
	Pushed   Set   // and acknowledged
	Batches  []Set // in the order of their seals; an object is in one of them
	Clients  [][]Request
	Replicas int
	Runs     int

	// How many replicas may crash, how many leases may lapse, and how many collectors may
	// crash or pause, altogether.
	Crashes, Lapses, Stops uint8
	// Hours is whether an hour may pass after the last use of a digest.
	Hours bool
	// Piecewise is whether a collector reads one root after the other, as it does, or all
	// at once, which has fewer states.
	Piecewise bool

	Weakness Weakness
}

// Request is a request of a client. It is a guarded section, except for deletes.
type Request struct {
	Name    string
	Replica int
	Uses    Set // marked, if they are candidates
	Looks   Set // have to be there, or the client is told that they are gone
	Writes  Set // written then, unless they are there: what is needed first
	// Promised is what the client relies on from the answer to its next one, and Pushed what
	// has to be there for good, with all that it needs.
	Promised, Pushed Set
	Deletes          Set // what a user deletes; nothing else happens then
	// Next and Gone are the numbers of the client's next request, after a success and if
	// something is gone. A client that has no such request has finished.
	Next, Gone int
}

// state is everything at one moment. It holds values only, and is compared and hashed
// as a whole.
type state struct {
	stored  Set
	pushed  Set   // acknowledged, and not deleted by a user since
	failure fault // what a step has noticed

	crashes, lapses, stops uint8 // those that may still happen

	replicas [maxReplicas]replica
	clients  [maxClients]client
	runs     [maxRuns]run
}

const (
	maxReplicas = 2
	maxClients  = 4
	maxRuns     = 2
)

// explorer is a World with what is computed from it once.
type explorer struct {
	*World
	roots   Set
	reached [1 << maxObjects]Set // a set and all that it needs
	batch   [maxObjects]uint8    // in which an object is sealed
	found   []successor          // of the state that is being explored
}

// successor is a state after a step.
type successor struct {
	step  Step
	state state
}

func newExplorer(w *World) *explorer {
	e := &explorer{World: w}
	for i, object := range w.Objects {
		if object.Root {
			e.roots |= 1 << i
		}
		for n, batch := range w.Batches {
			if batch.has(i) {
				e.batch[i] = uint8(n)
			}
		}
	}
	for s := range e.reached {
		reached, before := Set(s), Set(0)
		for reached != before {
			before = reached
			for i, object := range w.Objects {
				if reached.has(i) {
					reached |= object.Needs
				}
			}
		}
		e.reached[s] = reached
	}
	return e
}

func (e *explorer) start() state {
	s := state{stored: e.Stored, pushed: e.Pushed, crashes: e.Crashes, lapses: e.Lapses, stops: e.Stops}
	for r := range e.Replicas {
		s.replicas[r].phase = serving
	}
	return s
}

// then adds the state after a step, without what makes no difference any more.
func (e *explorer) then(s state, step Step) {
	over := true
	for number := range e.Runs {
		if s.runs[number].phase != ended {
			over = false
			continue
		}
		for r := range e.Replicas {
			replica := &s.replicas[r]
			replica.installed &^= 1 << number
			replica.marked &^= 1 << number
			replica.abandoned &^= 1 << number
			replica.rescued[number] = 0
		}
	}
	if over {
		for r := range e.Replicas {
			s.replicas[r].used = 0
		}
	}
	e.found = append(e.found, successor{step, s})
}

// successors are the states after each step that can be taken now. They are valid
// until the next call.
func (e *explorer) successors(s *state) []successor {
	e.found = e.found[:0]
	for c := range e.Clients {
		e.client(s, c)
	}
	for r := range e.Replicas {
		e.replica(s, r)
	}
	for n := range e.Runs {
		e.collector(s, n)
	}
	return e.found
}
