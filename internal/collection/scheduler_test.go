//go:build !race

package collection_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
)

// pace is the unit of all times. It divides none of the constants of the code, so that no
// two timers go off at the same moment.
const pace = 10*time.Second + 7*time.Microsecond

// flight is how late what was sent may take effect: less than collectors and replicas
// count on.
const flight = 29 * pace

// scheduler lets the operations of all processes take effect one after the other. Time
// goes on only when no operation is allowed to, so that a schedule depends on the seed
// alone: on nothing but which operations there are, in an order of their names.
type scheduler struct {
	rng     *rand.Rand
	began   time.Time
	calm    bool // operations take no time, and nothing fails any more
	delays  delays
	faults  []fault
	check   func(removed bool) error // after every step, with whether it has removed something
	removed bool
	pending []*operation
	steps   int
	weights map[string]float64
	names   map[string]string // of what has a random name
	reached map[string]int    // what collectors were about to do
	events  []event           // all steps

	mu      sync.Mutex
	aborted bool // nothing happens any more
	arrived []*operation
	arrival chan struct{}
}

// delays say how long operations take.
type delays struct {
	before, after float64 // how probable one is before the effect, and before the answer
	longest       time.Duration
}

// operation is one of a storage driver, or the wait of a client for its turn.
type operation struct {
	port        *port
	actor, kind string
	path, label string
	apply       func()
	ready       func() bool   // or after at
	sent, at    time.Duration // when it was sent, and before when nothing happens
	applied     bool
	orphan      bool // nobody waits for the answer
	failure     error
	answered    chan struct{}
}

// fault is something that happens to a process at some point.
type fault struct {
	ready func() bool
	run   func()
}

func newScheduler(seed uint64) *scheduler {
	s := &scheduler{
		rng: rand.New(rand.NewPCG(seed, 1)), began: time.Now(), arrival: make(chan struct{}, 1),
		weights: map[string]float64{}, names: map[string]string{}, reached: map[string]int{},
	}
	probabilities := []float64{0, 0, 0.02, 0.1, 0.3}
	s.delays = delays{
		before: probabilities[s.rng.IntN(len(probabilities))], after: probabilities[s.rng.IntN(len(probabilities))],
		longest: []time.Duration{pace / 10, pace, 4 * pace, 12 * pace}[s.rng.IntN(4)],
	}
	return s
}

// now is the clock of all processes.
func (s *scheduler) now() time.Duration { return time.Since(s.began) }

// submit hands an operation to the scheduler, unless its process is dead.
func (s *scheduler) submit(op *operation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted || op.port != nil && op.port.killed {
		return false
	}
	op.sent, op.answered = s.now(), make(chan struct{})
	s.arrived = append(s.arrived, op)
	select {
	case s.arrival <- struct{}{}:
	default:
	}
	return true
}

// await blocks an actor until the scheduler chooses it, at some time after it is ready or
// at is over.
func (s *scheduler) await(actor string, ready func() bool, at time.Duration) {
	op := &operation{actor: actor, kind: "await", ready: ready, at: at, apply: func() {}}
	if s.submit(op) {
		<-op.answered
	}
}

// run lets operations take effect until done.
func (s *scheduler) run(done func() bool) error {
	for limit := s.steps + 60000; s.steps < limit; {
		synctest.Wait()
		s.admit()
		if err := s.check(s.removed); err != nil {
			return err
		}
		s.removed = false
		if done() {
			return nil
		}
		s.disturb()
		if op := s.choose(); op != nil {
			s.steps++
			s.step(op)
		} else if err := s.idle(); err != nil {
			return err
		}
	}
	return errors.New("it does not end")
}

// disturb lets faults happen.
func (s *scheduler) disturb() {
	s.faults = slices.DeleteFunc(s.faults, func(f fault) bool {
		if s.calm || !f.ready() {
			return false
		}
		f.run()
		return true
	})
}

// milestones are what collectors do when it matters what others do at the same time.
var milestones = []string{"list active", "put candidates", "list acks", "list repositories", "put questions", "put seal", "list marks", "put final", "put done", "delete link"}

// point is a point of the schedule: a number of steps, or one where a collector is about to
// do something.
func (s *scheduler) point(rng *rand.Rand) func() bool {
	if rng.IntN(3) == 0 {
		steps := s.steps + rng.IntN(500)
		return func() bool { return s.steps >= steps }
	}
	return s.about(rng, milestones...)
}

// about is the point where a collector is about to do one of these things.
func (s *scheduler) about(rng *rand.Rand, milestones ...string) func() bool {
	milestone := milestones[rng.IntN(len(milestones))]
	count := s.reached[milestone] + 1 + rng.IntN(3)
	return func() bool { return s.reached[milestone] >= count }
}

// isWriting reports whether a request is about to write what others will find.
func (s *scheduler) isWriting(p *port) bool {
	return slices.ContainsFunc(s.pending, func(op *operation) bool {
		return op.port == p && op.kind == "put" && !op.applied && strings.HasPrefix(op.actor, clientPrefix) && path.Base(op.path) == layout.LinkName
	})
}

// admit takes in what has arrived, in an order that does not depend on goroutines.
func (s *scheduler) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.arrival:
	default:
	}
	for _, op := range s.arrived {
		op.label = s.label(op, false)
	}
	slices.SortFunc(s.arrived, func(a, b *operation) int {
		return cmp.Or(cmp.Compare(a.actor, b.actor), cmp.Compare(a.kind, b.kind), cmp.Compare(a.label, b.label))
	})
	for _, op := range s.arrived {
		op.label = s.label(op, true)
		if op.ready == nil {
			op.at = op.sent + s.delay(s.delays.before)
		}
		s.pending = append(s.pending, op)
		if strings.HasPrefix(op.actor, collectorPrefix) {
			s.reached[op.kind+" "+path.Base(op.path)]++
		}
	}
	s.arrived = nil
}

// randomly are the folders of what is named at random.
var randomly = []string{"_uploads", "active", "seen", "acks", "answers"}

// label is the path of an operation, with the same names in every replay.
func (s *scheduler) label(op *operation, assign bool) string {
	if !strings.Contains(op.path, "/_uploads/") && !strings.HasPrefix(op.path, layout.Collection) {
		return op.path
	}
	parts := strings.Split(op.path, "/")
	for i := 1; i < len(parts); i++ {
		if !slices.Contains(randomly, parts[i-1]) {
			continue
		}
		id := parts[i]
		if parts[i] = s.names[id]; parts[i] == "" && assign {
			parts[i] = fmt.Sprintf("%s-%d", op.actor, len(s.names))
			s.names[id] = parts[i]
		}
	}
	return strings.Join(parts, "/")
}

// delay is how long something takes: often nothing, and sometimes long.
func (s *scheduler) delay(probability float64) time.Duration {
	if s.calm || s.rng.Float64() >= probability {
		return 0
	}
	shortest := float64(pace / 50)
	return time.Duration(shortest * math.Pow(float64(s.delays.longest)/shortest, s.rng.Float64()))
}

// turn is when an operation may go on.
func (s *scheduler) turn(op *operation) time.Duration {
	at := op.at
	if op.port != nil && !op.orphan {
		at = max(at, op.port.paused)
	}
	if op.ready == nil && !op.applied {
		at = min(at, op.sent+flight)
	}
	if s.calm && op.port != nil && !op.orphan {
		at = 0
	}
	return at
}

// choose chooses what happens next. Each actor has a weight, which changes now and then:
// in one schedule a collector overtakes all clients, in another it is the slowest.
func (s *scheduler) choose() *operation {
	var total float64
	var may []*operation
	now := s.now()
	for _, op := range s.pending {
		if s.turn(op) <= now || op.ready != nil && op.ready() {
			may = append(may, op)
			total += s.weight(op.actor)
		}
	}
	if len(may) == 0 {
		return nil
	}
	if s.rng.IntN(40) == 0 {
		delete(s.weights, may[s.rng.IntN(len(may))].actor)
	}
	chosen := s.rng.Float64() * total
	for _, op := range may {
		if chosen -= s.weight(op.actor); chosen < 0 {
			return op
		}
	}
	return may[len(may)-1]
}

func (s *scheduler) weight(actor string) float64 {
	if s.weights[actor] == 0 {
		s.weights[actor] = math.Pow(1000, s.rng.Float64())
	}
	return s.weights[actor]
}

// step lets an operation take effect, or be answered.
func (s *scheduler) step(op *operation) {
	s.events = append(s.events, event{s.now(), op})
	if !op.applied {
		op.apply()
		op.applied = true
		s.removed = op.removes()
		if wait := s.delay(s.delays.after); wait > 0 && !op.orphan && op.ready == nil {
			op.at = s.now() + wait
			return
		}
	}
	s.pending = slices.DeleteFunc(s.pending, func(other *operation) bool { return other == op })
	if !op.orphan {
		close(op.answered)
	}
}

// event is a step of a schedule.
type event struct {
	at time.Duration
	op *operation
}

func (e event) String() string {
	return fmt.Sprintf("%10.3f %-10s %-7s %s", e.at.Seconds(), e.op.actor, e.op.kind, e.op.label)
}

// removes reports whether an operation removes content of the registry.
func (op *operation) removes() bool {
	return op.kind == "delete" && !strings.HasPrefix(op.path, layout.Collection)
}

// idle lets time go on until there is something to do.
func (s *scheduler) idle() error {
	wait := time.Hour
	for _, op := range s.pending {
		wait = min(wait, s.turn(op)-s.now())
	}
	if s.now() > 48*time.Hour {
		return errors.New("it does not end within two days")
	}
	select {
	case <-s.arrival:
	case <-time.After(wait):
	}
	return nil
}

// kill ends a process. What it has sent may still take effect, or never.
func (s *scheduler) kill(p *port) {
	s.mu.Lock()
	p.killed = true
	s.mu.Unlock()
	s.pending = slices.DeleteFunc(s.pending, func(op *operation) bool {
		if op.port != p || op.orphan {
			return false
		}
		op.orphan, op.failure = true, errKilled
		close(op.answered)
		if op.applied || s.rng.IntN(2) == 0 {
			return true
		}
		op.at = s.now() + time.Duration(s.rng.Float64()*float64(op.sent+flight-s.now()))
		return false
	})
	p.cancel()
}

// abort lets all that is under way fail.
func (s *scheduler) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	for _, op := range append(s.pending, s.arrived...) {
		if !op.orphan {
			op.failure = errKilled
			close(op.answered)
		}
	}
	s.pending, s.arrived = nil, nil
}

func (s *scheduler) isAborted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aborted
}

var errKilled = errors.New("the process is dead")

type actorKey struct{}

// as returns a context whose operations are those of an actor.
func as(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}
