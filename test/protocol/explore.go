package protocol

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// Step is what one of the processes did.
type Step struct {
	actor   string
	number  int // of the actor, from 0
	request *Request
	what    string
	objects Set
	run     int // from 1; 0 is none
}

// Result is what an exploration has found.
type Result struct {
	States  int    // that were reached
	Depth   int    // of the longest of the shortest ways to each state
	Failure string // what does not hold in one of them, or ""
	Trace   string // the shortest way there, a line for each step
}

// Explore takes every step in every state that can be reached, the nearest first, until
// something does not hold, or until there are more than limit states, which is an error.
func (w *World) Explore(limit int) (Result, error) {
	e := newExplorer(w)
	seed := maphash.MakeSeed()
	first := e.start()
	hash := maphash.Comparable(seed, first)
	from := map[uint64]uint64{hash: hash} // the state before, by hashes
	level, next := []state{first}, []state(nil)
	result := Result{}
	for ; len(level) > 0; result.Depth++ {
		for i := range level {
			hash := maphash.Comparable(seed, level[i])
			for _, successor := range e.successors(&level[i]) {
				to := maphash.Comparable(seed, successor.state)
				if _, known := from[to]; known {
					continue
				}
				from[to] = hash
				if failure := e.check(&successor.state); failure != holds {
					result.States, result.Failure = len(from), failure.String()
					result.Trace = e.trace(seed, from, to)
					return result, nil
				}
				next = append(next, successor.state)
			}
		}
		if len(from) > limit {
			return result, fmt.Errorf("%s: more than %d states", w.Name, limit)
		}
		level, next = next, level[:0]
	}
	result.States = len(from)
	return result, nil
}

// trace describes the way to a state.
func (e *explorer) trace(seed maphash.Seed, from map[uint64]uint64, to uint64) string {
	way := []uint64{to}
	for from[to] != to {
		to = from[to]
		way = append(way, to)
	}
	slices.Reverse(way)
	var lines strings.Builder
	s := e.start()
	for _, hash := range way[1:] {
		for _, successor := range e.successors(&s) {
			if maphash.Comparable(seed, successor.state) == hash {
				s = successor.state
				fmt.Fprintf(&lines, "%s\n", e.describe(successor.step))
				break
			}
		}
	}
	fmt.Fprintf(&lines, "stored: %s\n", e.names(s.stored))
	return lines.String()
}

func (e *explorer) describe(step Step) string {
	var line strings.Builder
	fmt.Fprintf(&line, "%s %d: ", step.actor, step.number+1)
	if step.request != nil {
		fmt.Fprintf(&line, "%s (replica %d): ", step.request.Name, step.request.Replica+1)
	}
	line.WriteString(step.what)
	if step.objects != 0 {
		line.WriteString(" " + e.names(step.objects))
	}
	if step.run != 0 {
		fmt.Fprintf(&line, " (run %d)", step.run)
	}
	return line.String()
}

func (e *explorer) names(s Set) string {
	var names []string
	for ; s != 0; s &= s - 1 {
		names = append(names, e.Objects[s.first()].Name)
	}
	return "[" + strings.Join(names, ", ") + "]"
}
