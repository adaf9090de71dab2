package collection

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
)

// batchSize is how many candidates are sealed at once.
const batchSize = 1000

// RunOptions are those of a run of the collector.
type RunOptions struct {
	Options
	// Garbage says what is garbage.
	Garbage gc.Options
	// Forget is called for what has been removed, before anybody may rely on its being
	// gone: a shared descriptor cache must not vouch for it. It may be nil.
	Forget func(ctx context.Context, repository string, d digest.Digest) error

	batch int // how many candidates are sealed at once, batchSize if 0
}

// Result is what a run has done.
type Result struct {
	gc.Report
	// Candidates is how many were announced, Rescued how many of them were used or have
	// become reachable meanwhile.
	Candidates int `json:"candidates"`
	Rescued    int `json:"rescued"`
}

// Collect removes what is garbage from a storage tree that replicas are serving. It is
// safe to interrupt at any point, and to run several at once. An error before anything was
// removed says so.
func Collect(ctx context.Context, driver storagedriver.StorageDriver, options RunOptions) (Result, error) {
	options.Options = options.withDefaults()
	options.batch = cmp.Or(options.batch, batchSize)
	c := &run{name: rand.Text(), driver: driver, options: options, vanished: map[string]time.Duration{}}
	if options.Garbage.DryRun {
		found, err := c.find(ctx, driver)
		if err != nil {
			return c.result, c.untouched(ctx, err)
		}
		c.result.Report = found.Report()
		return c.result, nil
	}
	err := c.run(ctx)
	if c.found != nil {
		c.result.Report = c.found.Report()
	}
	return c.result, err
}

// run is one run of the collector.
type run struct {
	name     string
	driver   storagedriver.StorageDriver
	options  RunOptions
	replicas []string                 // that have to take part
	vanished map[string]time.Duration // those whose registration is gone, and since when
	batches  [][]Key                  // the candidates
	before   []Key                    // all links of the first look, sorted
	found    *gc.Found
	items    map[Key][]gc.Item // of the second look
	result   Result
	sealed   bool // a batch is, and has not been removed

	renewed atomic.Int64 // when the last sign of life was sent that has arrived
}

func (c *run) run(ctx context.Context) (err error) {
	if err := c.look(ctx); err != nil {
		return c.untouched(ctx, err)
	}
	if len(c.batches) == 0 {
		return c.found.RemoveStray(ctx)
	}
	defer c.options.Guard()()
	ctx, cancel := context.WithCancelCause(ctx)
	var beats sync.WaitGroup
	defer func() {
		cancel(nil)
		beats.Wait()
		if endErr := c.end(context.WithoutCancel(ctx)); err == nil {
			err = endErr
		}
	}()
	if err := c.publish(ctx); err != nil {
		return c.untouched(ctx, err)
	}
	beats.Go(func() { cancel(c.live(ctx)) })
	for _, step := range []func(context.Context) error{c.register, c.removeDead, c.awaitAcks, c.lookAgain, c.ask} {
		if err := step(ctx); err != nil {
			return c.untouched(ctx, err)
		}
	}
	for n := range c.batches {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.sealed = true
		// What was begun is finished, so that nobody has to wait until it is certain
		// that nothing more happens.
		if err := c.remove(context.WithoutCancel(ctx), n); err != nil {
			return err
		}
		c.sealed = false
	}
	return c.found.RemoveStray(ctx)
}

func (c *run) untouched(ctx context.Context, err error) error {
	return fmt.Errorf("nothing was removed: %w", cmp.Or(context.Cause(ctx), err))
}

// look is the first look: it finds the candidates.
func (c *run) look(ctx context.Context) error {
	found, err := c.find(ctx, c.driver)
	if err != nil {
		return err
	}
	c.found = found
	for _, batch := range found.Batches(c.options.batch) {
		if c.result.Candidates+len(batch) > maxCandidates {
			break
		}
		c.batches = append(c.batches, itemKeys(found, batch))
		c.result.Candidates += len(batch)
	}
	c.before = links(found)
	slices.Sort(c.before)
	return nil
}

// looks is how often the tree is read at most where another manifest is incomplete each time.
const looks = 3

// find reads the whole tree. A manifest that is there only in part may be one that another run,
// or a user, is removing: then that is not so when it is read again.
func (c *run) find(ctx context.Context, driver storagedriver.StorageDriver) (*gc.Found, error) {
	var last error
	for look := 1; ; look++ {
		found, err := gc.Find(ctx, driver, c.options.Garbage)
		if !errors.Is(err, layout.ErrNoContent) || look == looks || last != nil && err.Error() == last.Error() {
			return found, err
		}
		last = err
	}
}

func itemKey(f *gc.Found, item gc.Item) Key {
	repository, d := f.Name(item)
	switch item.Kind {
	case gc.Blob:
		return BlobKey(d)
	case gc.Tag:
		return TagKey(repository, f.TagName(item))
	}
	return LinkKey(repository, d)
}

func itemKeys(f *gc.Found, items []gc.Item) []Key {
	keys := make([]Key, len(items))
	for i, item := range items {
		keys[i] = itemKey(f, item)
	}
	return keys
}

func links(f *gc.Found) (keys []Key) {
	for repository, d := range f.Links() {
		keys = append(keys, LinkKey(repository, d))
	}
	return keys
}

// publish says what may be removed.
func (c *run) publish(ctx context.Context) error {
	if err := c.driver.PutContent(ctx, layout.RunCandidates(c.name), encodeCandidates(onlineRun, c.batches)); err != nil {
		return fmt.Errorf("publishing the candidates: %w", err)
	}
	return c.beat(ctx, 0)
}

// live gives signs of life until ctx ends, or others may take the run for dead.
func (c *run) live(ctx context.Context) error {
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(c.options.Pace)):
		}
		beatErr := c.beat(ctx, n)
		if err := c.fence(); err != nil {
			return errors.Join(err, beatErr)
		}
	}
}

// beat gives a sign of life.
func (c *run) beat(ctx context.Context, n int) error {
	sent := c.options.Clock()
	if err := c.driver.PutContent(ctx, layout.RunAlive(c.name), []byte(strconv.Itoa(n))); err != nil {
		return fmt.Errorf("giving a sign of life: %w", err)
	}
	c.renewed.Store(int64(sent))
	return nil
}

// fence fails once others may take this run for dead.
func (c *run) fence() error {
	if c.options.Clock() > time.Duration(c.renewed.Load())+c.options.Pace.lease() {
		return errors.New("the collector has lost contact with the storage")
	}
	return nil
}

// lookAgain is the second look. What is garbage now, but was not announced, is spared, with
// all that it reaches.
func (c *run) lookAgain(ctx context.Context) error {
	found, err := c.find(ctx, fenced{c.driver, c.fence})
	if err != nil {
		return err
	}
	announced := slices.Concat(c.batches...)
	slices.Sort(announced)
	c.found, c.items = found, map[Key][]gc.Item{}
	for _, batch := range found.Batches(c.options.batch) {
		for _, item := range batch {
			key := itemKey(found, item)
			if _, is := slices.BinarySearch(announced, key); is {
				c.items[key] = append(c.items[key], item)
			} else {
				found.Spare(item)
			}
		}
	}
	return nil
}

// remove removes what nobody has used of a batch.
func (c *run) remove(ctx context.Context, n int) error {
	// Without the candidates, replicas take the run for one that has ended.
	if there, err := exists(ctx, c.driver, layout.RunCandidates(c.name)); err != nil {
		return err
	} else if !there {
		return errors.New("somebody has removed the folder of the run")
	}
	if err := c.put(ctx, layout.RunSeal(c.name, n), []byte(c.name)); err != nil {
		return err
	}
	if err := c.spareMarked(ctx, n); err != nil {
		return err
	}
	var final []Key
	var items []gc.Item
	for _, key := range c.batches[n] {
		all := c.items[key]
		if slices.ContainsFunc(all, c.found.IsSpared) {
			for _, item := range all { // two with the same key
				c.found.Spare(item)
			}
			all = nil
		}
		if len(all) == 0 {
			c.result.Rescued++
			continue
		}
		final, items = append(final, key), append(items, all...)
	}
	if err := c.put(ctx, layout.RunFinal(c.name, n), appendKeys(nil, final)); err != nil {
		return err
	}
	if err := c.found.Remove(ctx, items); err != nil {
		return err
	}
	if err := Forget(ctx, c.found, items, c.options.Forget); err != nil {
		return err
	}
	return c.put(ctx, layout.RunDone(c.name, n), []byte(c.name))
}

// Forget calls forget for each of the items that a descriptor cache may know.
func Forget(ctx context.Context, found *gc.Found, items []gc.Item, forget func(context.Context, string, digest.Digest) error) error {
	if forget == nil {
		return nil
	}
	for _, item := range items {
		if item.Kind == gc.Tag {
			continue
		}
		repository, d := found.Name(item)
		if err := forget(ctx, repository, d); err != nil {
			return err
		}
	}
	return nil
}

// spareMarked spares what is marked in a batch that has been sealed.
func (c *run) spareMarked(ctx context.Context, n int) error {
	marks, err := c.driver.List(ctx, layout.RunMarks(c.name, n))
	if err != nil && !layout.IsNotFound(err) {
		return fmt.Errorf("listing what is used: %w", err)
	}
	for _, mark := range marks {
		key, err := strconv.ParseUint(path.Base(mark), 16, 64)
		if err != nil {
			continue // the filesystem driver is writing it: its replica will see the seal
		}
		for _, item := range c.items[Key(key)] {
			c.found.Spare(item)
		}
	}
	return nil
}

// put writes a file of the run, unless others may take it for dead.
func (c *run) put(ctx context.Context, file string, content []byte) error {
	if err := c.fence(); err != nil {
		return err
	}
	return c.driver.PutContent(ctx, file, content)
}

// end removes the folder of the run: it decides nothing any more. If a batch could not be
// finished, it is left to the replicas: they wait until all that was sent has taken effect.
func (c *run) end(ctx context.Context) error {
	if c.sealed {
		return nil
	}
	if err := removeRun(ctx, c.driver, c.name); err != nil {
		return fmt.Errorf("removing the folder of the run: %w", err)
	}
	return nil
}

// poll asks again and again until it is done.
func (c *run) poll(ctx context.Context, ask func() (done bool, err error)) error {
	for {
		if done, err := ask(); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return cmp.Or(context.Cause(ctx), ctx.Err())
		case <-time.After(c.options.Pace.busy()):
		}
	}
}

// fenced is a storage driver that removes nothing once others may take the run for dead.
type fenced struct {
	storagedriver.StorageDriver
	check func() error
}

// Delete implements storagedriver.StorageDriver.
func (f fenced) Delete(ctx context.Context, file string) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.StorageDriver.Delete(ctx, file)
}
