package collection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/layout"
)

// installed is a run that this replica takes part in.
type installed struct {
	name       string
	candidates *candidates
	group      *suspectGroup
	over       atomic.Bool // it removes no more

	// For Poll alone.
	epoch   int // that began with it
	seen    bool
	ack     task
	answer  task
	alive   string        // what the collector wrote last
	changed time.Duration // when that was seen first

	mu    sync.Mutex
	state map[Key]state
}

// state is what this replica knows of a candidate that was used.
type state int

const (
	marked  state = iota + 1 // it stays
	removed                  // it is on the final list
	again                    // it has been removed, and may be there again
)

// known is the state of a candidate, 0 before its first use.
func (i *installed) known(k Key) state {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state[k]
}

func (i *installed) set(k Key, s state) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state[k] = s
}

// IsBusy reports whether there is a run that waits for replicas. One that asks nobody may
// have been killed long ago, and one that cannot be read comes to nothing.
func (r *Replica) IsBusy() bool {
	return slices.ContainsFunc(*r.installed.Load(), func(i *installed) bool {
		return i.candidates.kind == onlineRun && !i.over.Load()
	})
}

// follow installs the runs that are new, drops those that are gone, and does what the
// others ask for. A replica that joins waits until it has acknowledged them all.
func (r *Replica) follow(ctx context.Context, names []string, joining bool) error {
	list := slices.DeleteFunc(slices.Clone(*r.installed.Load()), func(i *installed) bool { return !slices.Contains(names, i.name) })
	known := make(map[string]bool, len(list))
	for _, i := range list {
		known[i.name] = true
	}
	unknown := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[name] })
	found := make([]*installed, len(unknown))
	err := atOnce(len(unknown), func(n int) (err error) {
		if found[n], err = r.read(ctx, unknown[n]); err == nil && found[n] == nil {
			err = r.clear(ctx, unknown[n])
		}
		return err
	})
	fresh := slices.DeleteFunc(found, func(i *installed) bool { return i == nil })
	list = append(list, fresh...)
	r.installed.Store(&list)
	r.mu.Lock()
	r.epoch++ // sections that begin from here on have seen them
	for _, i := range fresh {
		i.epoch = r.epoch
	}
	r.mu.Unlock()
	return errors.Join(err, atOnce(len(list), func(n int) error {
		i := list[n]
		if err := r.attend(ctx, i, joining); err != nil && !layout.IsInterference(err) { // or the run is being removed
			return fmt.Errorf("run %s: %w", i.name, err)
		}
		return nil
	}))
}

// runsAtOnce is how many runs a replica looks at at once: there may be thousands of what
// was left behind, and a lease does not last long.
const runsAtOnce = 32

// atOnce does something for each of n things, whatever becomes of the others.
func atOnce(n int, do func(n int) error) error {
	errs := make([]error, n)
	var group errgroup.Group
	group.SetLimit(runsAtOnce)
	for i := range n {
		group.Go(func() error {
			errs[i] = do(i)
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// read reads the candidates of a run. It returns nil for a folder that is none.
func (r *Replica) read(ctx context.Context, name string) (i *installed, err error) {
	// Few candidates are in memory at once, and what has none need not wait for that.
	if there, err := r.exists(ctx, layout.RunCandidates(name)); err != nil || !there {
		return nil, err
	}
	var c *candidates
	var decodeErr error
	err = r.reader.Derived(ctx, layout.RunCandidates(name), maxCandidatesFile, func(content []byte) {
		c, decodeErr = decodeCandidates(content)
	})
	switch {
	case layout.IsNotFound(err):
		return nil, nil
	case errors.Is(err, layout.ErrTooLarge):
		decodeErr = err
	case err != nil:
		return nil, fmt.Errorf("reading the candidates of run %s: %w", name, err)
	}
	if decodeErr != nil { // it is never acknowledged, and so comes to nothing
		r.options.Failed(fmt.Errorf("run %s: %w", name, decodeErr))
		c = &candidates{kind: brokenRun}
	}
	group := r.suspects.add(c.keys, c.kind == onlineRun)
	return &installed{name: name, candidates: c, group: group, state: map[Key]state{}, changed: r.options.Clock()}, nil
}

// clear removes a folder that has been without candidates for a long time: a mark that was
// late has made it again.
func (r *Replica) clear(ctx context.Context, name string) error {
	now := r.options.Clock()
	r.mu.Lock()
	first, known := r.debris[name]
	switch {
	case !known:
		r.debris[name] = now
	case now-first >= 2*r.options.Pace.abandoned():
		delete(r.debris, name)
	}
	r.mu.Unlock()
	if !known || now-first < 2*r.options.Pace.abandoned() {
		return nil
	}
	return removeRun(ctx, r.driver, name)
}

// removeRun removes the folder of a run, the candidates first: without them it is not a run,
// and a mark that is late is debris.
func removeRun(ctx context.Context, driver storagedriver.StorageDriver, name string) error {
	for _, file := range []string{layout.RunCandidates(name), layout.Run(name)} {
		if err := layout.Remove(ctx, driver, file); err != nil && !layout.IsInterference(err) {
			return err
		}
	}
	return nil
}

// attend does what a run asks for.
func (r *Replica) attend(ctx context.Context, i *installed, joining bool) error {
	if i.over.Load() {
		return r.bury(ctx, i)
	}
	if i.candidates.kind == offlineRun {
		there, err := r.exists(ctx, layout.RunDone(i.name, 0))
		if there {
			r.suspects.end(i.group)
			i.over.Store(true)
		}
		return err
	}
	if !i.seen { // by this replica, but maybe by others
		over, err := r.isOver(ctx, i)
		if err != nil || over {
			i.over.Store(over)
			return err
		}
	}
	if err := r.watch(ctx, i); err != nil || i.over.Load() {
		return err
	}
	if !i.seen {
		if err := r.driver.PutContent(ctx, layout.RunSeen(i.name, r.id), []byte(r.id)); err != nil {
			return err
		}
		i.seen = true
	}
	if i.candidates.kind == brokenRun {
		return nil
	}
	if err := r.acknowledge(ctx, i, joining); err != nil {
		return err
	}
	return r.answer(ctx, i)
}

// watch looks for signs of life of the collector. Once nothing that it has sent can still
// remove anything, the run is over.
func (r *Replica) watch(ctx context.Context, i *installed) error {
	content, err := r.driver.GetContent(ctx, layout.RunAlive(i.name))
	if layout.IsNotFound(err) { // not yet, or it has ended and a mark that was late has made its folder again
		var there bool
		if there, err = r.exists(ctx, layout.RunCandidates(i.name)); err == nil && !there {
			i.over.Store(true)
			return nil
		}
	}
	if err != nil {
		return err
	}
	now := r.options.Clock()
	if string(content) != i.alive {
		i.alive, i.changed = string(content), now
	}
	if now-i.changed <= r.options.Pace.abandoned() {
		return nil
	}
	// Replicas that have seen the run later have to know it, too, before anything is written that
	// the run would have removed.
	err = r.driver.PutContent(ctx, layout.RunOver(i.name), []byte(r.id))
	if err == nil {
		i.over.Store(true)
	}
	return err
}

// bury removes the folder of a run that has been over for as long again: other replicas
// have noticed it by then.
func (r *Replica) bury(ctx context.Context, i *installed) error {
	if r.options.Clock()-i.changed < 2*r.options.Pace.abandoned() {
		return nil
	}
	return removeRun(ctx, r.driver, i.name)
}

// acknowledge acknowledges a run, in the background unless the replica is joining: the
// sections that have to end before may take a while.
func (r *Replica) acknowledge(ctx context.Context, i *installed, joining bool) error {
	id := r.id
	return r.proceed(ctx, &i.ack, joining, func(ctx context.Context) error { return r.drainAndMark(ctx, i, id) })
}

// task is something that Poll has to do once, and that may take longer than one Poll.
type task struct {
	done   bool
	result chan error // of the attempt that is under way, or nil
}

// proceed begins a task, or looks whether it has ended.
func (r *Replica) proceed(ctx context.Context, t *task, wait bool, do func(context.Context) error) error {
	if t.done {
		return nil
	}
	if t.result == nil {
		result := make(chan error, 1)
		t.result = result
		r.work.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.Pace.surrender())
			defer cancel()
			result <- do(ctx)
		})
	}
	var err error
	if wait {
		err = <-t.result
	} else {
		select {
		case err = <-t.result:
		default:
			return nil
		}
	}
	t.result, t.done = nil, err == nil
	return err
}

// marksAtOnce is how many marks a replica writes at once.
const marksAtOnce = 16

// drainAndMark waits for the sections that began before the run was installed, marks what
// has been used of its candidates, and tells the collector.
func (r *Replica) drainAndMark(ctx context.Context, i *installed, id string) error {
	if err := r.drain(ctx, i.epoch); err != nil {
		return err
	}
	r.uses.advance(r.options.Clock())
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(marksAtOnce)
	for n, key := range i.candidates.keys {
		if r.uses.has(key) {
			group.Go(func() error { return r.mark(groupCtx, i, key, int(i.candidates.batches[n])) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return r.driver.PutContent(ctx, layout.RunAck(i.name, id), []byte(id))
}

// answer tells a collector which links this replica has written of those that it asks for.
// What a request writes by a digest that is not known before, it reports before it ends: so
// those that are under way have to end first.
func (r *Replica) answer(ctx context.Context, i *installed) error {
	var asked []Key
	if !i.answer.done && i.answer.result == nil {
		err := r.reader.Derived(ctx, layout.RunQuestions(i.name), maxCandidatesFile, func(content []byte) { asked = decodeKeys(content) })
		if layout.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	id := r.id
	return r.proceed(ctx, &i.answer, false, func(ctx context.Context) error {
		r.mu.Lock()
		r.epoch++
		epoch := r.epoch
		r.mu.Unlock()
		if err := r.drain(ctx, epoch); err != nil {
			return err
		}
		own := slices.DeleteFunc(asked, func(k Key) bool { return !r.writes.has(k) })
		return r.driver.PutContent(ctx, layout.RunAnswer(i.name, id), appendKeys([]byte{}, own))
	})
}
