//go:build !race

// One actor runs at a time here, which the race detector does not see. It is enabled in the
// processes of test/blackbox.

package collection_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
)

var (
	schedules = flag.Int("collection.schedules", 600, "how many schedules are explored")
	replays   = flag.Int("collection.replays", 10, "how many schedules are replayed")
	onlySeed  = flag.Uint64("collection.seed", 0, "the one schedule to explore, and to print")
)

// Whatever the order is in which the storage operations of replicas and collectors take
// effect, whatever is killed or stopped meanwhile: what was acknowledged stays, what a
// replica said was there can be pushed, and what is garbage goes in the end.
//
// A failure names its seed, which replays the schedule: `go test ./internal/collection -run
// Schedules -collection.seed N`. That depends on the code under test doing the same each
// time, except for the order of goroutines between two operations and for random names: no
// more than one operation of an actor with the same path at once, and nothing decided by
// the order of a map.
func TestSchedules(t *testing.T) {
	logrus.SetOutput(io.Discard)
	defer logrus.SetOutput(os.Stderr)
	if *onlySeed != 0 {
		explore(t, *onlySeed, &coverage{})
		return
	}
	var all coverage
	var next atomic.Uint64
	t.Run("explore", func(t *testing.T) {
		for n := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					seed := next.Add(1)
					if seed > uint64(*schedules) {
						return
					}
					explore(t, seed, &all)
				}
			})
		}
	})
	t.Logf("%+v", &all)
}

// A seed stands for one schedule.
func TestReplay(t *testing.T) {
	logrus.SetOutput(io.Discard)
	defer logrus.SetOutput(os.Stderr)
	for seed := range uint64(*replays) {
		first, second := explore(t, 1+seed, &coverage{}), explore(t, 1+seed, &coverage{})
		for i := range min(len(first), len(second)) {
			if first[i].String() != second[i].String() {
				t.Fatalf("seed %d: %v, and when it is replayed %v", 1+seed, first[max(0, i-5):i+1], second[i])
			}
		}
	}
}

// coverage is what has happened in all schedules.
type coverage struct {
	mu                             sync.Mutex
	schedules, steps, acknowledged int
	removed, rescued               int
}

// explore runs one schedule.
func explore(t *testing.T, seed uint64, all *coverage) (events []event) {
	t.Helper()
	watchdog := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("seed %d: it hangs", seed)) })
	defer watchdog.Stop()
	defer func() {
		if problem := recover(); problem != nil {
			t.Fatalf("seed %d: %v", seed, problem)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(t, seed)
		if err == nil {
			err = w.run(seed)
		}
		if *onlySeed == seed && w != nil {
			for _, e := range w.s.events {
				_, _ = fmt.Fprintln(os.Stdout, e)
			}
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if w != nil {
			events = w.s.events
			w.abort()
			all.count(w)
		}
	})
	return events
}

func (a *coverage) count(w *world) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.schedules++
	a.steps += w.s.steps
	a.acknowledged += len(w.ledger.entries)
	a.removed += w.removed
	a.rescued += w.rescued
}

func newWorld(t *testing.T, seed uint64) (*world, error) {
	trees, err := tree()
	if err != nil {
		return nil, err
	}
	s := newScheduler(seed)
	w := &world{s: s, ctx: context.Background(), untagged: s.rng.IntN(3) > 0, cached: s.rng.IntN(2) == 0}
	files := trees[0]
	if w.untagged {
		files = trees[1]
	}
	w.driver = newStorage(t, files)
	w.ledger = &ledger{driver: w.driver, now: s.now, entries: map[entry]*promise{}}
	w.ledger.add(entry{app, liveImage, "live"}, nil)
	w.ledger.add(entry{other, liveImage, "live"}, nil)
	s.check = w.ledger.check
	return w, nil
}

// run explores one schedule, and then looks whether a run that nobody disturbs removes all
// that is garbage.
func (w *world) run(seed uint64) error {
	for _, name := range []string{"a", "b"}[:1+min(1, w.s.rng.IntN(4))] {
		if _, err := w.startProcess(name); err != nil {
			return err
		}
	}
	var ended atomic.Int64
	actors := 0
	start := func(run func()) {
		actors++
		w.actors.Go(func() {
			defer ended.Add(1)
			run()
		})
	}
	for n := range 1 + w.s.rng.IntN(3) {
		c := &client{w: w, name: fmt.Sprintf("%s%d", clientPrefix, n), rng: rand.New(rand.NewPCG(seed, uint64(2+n)))}
		start(c.run)
	}
	for n := range 1 + w.s.rng.IntN(2) {
		name := fmt.Sprintf("%s%d", collectorPrefix, n)
		rng := rand.New(rand.NewPCG(seed, uint64(10+n)))
		ports := []*port{w.newPort(name), w.newPort(name)}
		start(func() { w.collectTwice(rng, ports) })
		for _, p := range ports {
			w.disturb(p, func() { w.s.kill(p) })
		}
	}
	for _, p := range w.processes {
		w.disturb(p.port, func() { w.crash(p) })
	}
	if w.s.rng.IntN(2) == 0 {
		late := fault{w.s.about(w.s.rng, "list active", "put candidates", "put seal"), func() { w.start("late") }}
		w.s.faults = append(w.s.faults, late)
	}
	if err := w.s.run(func() bool { return ended.Load() == int64(actors) }); err != nil {
		return err
	}
	return w.settle()
}

// collectTwice collects as two processes do, one after the other.
func (w *world) collectTwice(rng *rand.Rand, ports []*port) {
	for _, p := range ports {
		limit := w.s.now() + time.Duration(rng.Float64()*float64([]time.Duration{pace, 3 * pace, 40 * pace}[rng.IntN(3)]))
		w.s.await(p.name, w.s.point(rng), limit)
		_, err := w.collect(p, w.runOptions(1+rng.IntN(4)))
		if err != nil && !w.disturbed && !w.hasLapsed() && w.s.delays.longest <= pace && !w.s.isAborted() {
			w.ledger.fail("%s: %w", p.name, err)
		}
	}
}

// hasLapsed reports whether the lease of a replica has run out: the storage was too slow.
func (w *world) hasLapsed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.all, func(p *process) bool { return p.replica.Gaps() > 0 })
}

// disturb lets a process be killed or stopped now and then.
func (w *world) disturb(p *port, kill func()) {
	rng := w.s.rng
	if rng.IntN(3) == 0 {
		longest := []time.Duration{pace, 4 * pace, 28 * pace, 80 * pace}[rng.IntN(4)]
		duration := time.Duration(rng.Float64() * float64(longest))
		w.fault(func() { p.paused = w.s.now() + duration })
	}
	if rng.IntN(4) == 0 {
		w.fault(kill)
	}
	if rng.IntN(4) == 0 { // in the middle of a write, for longer than its lease
		writes := 1 + rng.IntN(4)
		duration := 30*pace + time.Duration(rng.Float64()*float64(60*pace))
		w.s.faults = append(w.s.faults, fault{
			func() bool {
				if w.s.isWriting(p) {
					writes--
				}
				return writes < 0
			},
			func() { p.paused, w.disturbed = w.s.now()+duration, true },
		})
	}
}

// fault lets something happen at some point.
func (w *world) fault(run func()) {
	w.s.faults = append(w.s.faults, fault{w.s.point(w.s.rng), func() { w.disturbed = true; run() }})
}

// start starts a registry in the course of a schedule.
func (w *world) start(name string) {
	if _, err := w.startProcess(name); err != nil {
		w.ledger.fail("starting a registry: %w", err)
	}
}

// crash kills a registry, and starts another one.
func (w *world) crash(p *process) {
	w.s.kill(p.port)
	w.actors.Go(func() { _ = p.close(w.ctx) }) // so that no goroutine stays
	w.crashes++
	w.start(fmt.Sprintf("%s%d", p.port.name, w.crashes))
}

// settle ends all processes, and looks two hours later whether all garbage goes.
func (w *world) settle() error {
	w.s.calm = true
	if w.s.rng.IntN(8) > 0 {
		if err := w.closeAll(); err != nil {
			return err
		}
	}
	w.ledger.forget()
	if err := w.wait(2 * time.Hour); err != nil {
		return err
	}
	last, err := w.startProcess("last")
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.processes = []*process{last}
	w.mu.Unlock()
	p := w.newPort(collectorPrefix)
	var result collection.Result
	var collectErr error
	if err := w.do(func() { result, collectErr = w.collect(p, w.runOptions(0)) }); err != nil || collectErr != nil {
		return errors.Join(err, collectErr)
	}
	if err := w.inspect(); err != nil {
		return err
	}
	if active := w.active(); len(active.Replicas) > 0 && result.Candidates > 0 {
		return fmt.Errorf("replicas are still registered: %s", active.Replicas)
	}
	return w.ledger.check(true)
}

// active are the runs and the registrations.
func (w *world) active() layout.ActiveNames {
	paths, _ := w.driver.List(w.ctx, layout.Active)
	return layout.ParseActive(paths)
}

// inspect looks at the storage at the end.
func (w *world) inspect() error {
	found, err := gc.Find(w.ctx, w.driver, w.runOptions(0).Garbage)
	if err != nil {
		return err
	}
	for _, batch := range found.Batches(1) {
		repository, d := found.Name(batch[0])
		err = errors.Join(err, fmt.Errorf("%s in %q is still there", d, repository))
	}
	if err != nil {
		return err
	}
	// What a dead collector has sealed is not available until it is certain that nothing
	// more happens.
	if len(w.active().Runs) > 0 {
		if err := w.wait(40 * pace); err != nil {
			return err
		}
	}
	c := &client{w: w, name: "client", rng: w.s.rng}
	if err := w.do(c.pullAll); err != nil {
		return err
	}
	if w.s.rng.IntN(8) == 0 { // what was abandoned goes, too
		if err := w.wait(100 * pace); err != nil {
			return err
		}
		if runs := w.active().Runs; len(runs) > 0 {
			return fmt.Errorf("runs are still there: %s", runs)
		}
	}
	return w.closeAll()
}

// wait waits while the scheduler runs.
func (w *world) wait(d time.Duration) error {
	return w.do(func() { w.s.await("wait", func() bool { return false }, w.s.now()+d) })
}

// do does something while the scheduler runs.
func (w *world) do(what func()) error {
	ended := make(chan struct{})
	w.actors.Go(func() {
		defer close(ended)
		what()
	})
	return w.s.run(func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}
