package collection

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/layout"
)

// Options are those of a Replica. Zero values mean the defaults.
type Options struct {
	// Pace is the unit of all waiting.
	Pace Pace
	// Clock is a clock that goes on while the machine is suspended.
	Clock func() time.Duration
	// Failed is told of errors in the background that will be tried again. It may be nil.
	Failed func(error)
	// Guard is called before something begins that must not go on after this process was
	// stopped for longer than Pace.Stopped, and done when it is over. It may be nil.
	Guard func() (done func())
}

func (o Options) withDefaults() Options {
	if o.Pace == 0 {
		o.Pace = Pace(DefaultPace)
	}
	if o.Clock == nil {
		o.Clock = sinceBoot
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	if o.Guard == nil {
		o.Guard = func() func() { return func() {} }
	}
	return o
}

// The sizes of the filters that remember uses and writes, in bytes, each filterCount+1 times.
const (
	usesSize   = 1 << 20
	writesSize = 1 << 16
)

// writesWindow is how long a replica remembers what it has written. A run that takes
// longer than that from its first look to its second takes everyone for a stranger.
const writesWindow = 24 * time.Hour

// Replica is a serving registry, as collectors know it. Its methods may be called from
// many goroutines.
type Replica struct {
	driver    storagedriver.StorageDriver
	reader    *layout.Reader
	options   Options
	uses      *recent
	writes    *recent
	suspects  suspects
	installed atomic.Pointer[[]*installed]
	polls     sync.Mutex               // one Poll at a time
	debris    map[string]time.Duration // folders that are no runs, and when they were seen first

	mu        sync.Mutex
	id        string
	joined    bool
	lease     time.Duration // when it runs out
	gaps      int           // how often it has run out
	epoch     int           // how many runs have been installed
	unguarded bool          // a pull was answered without a lease
	sections  map[int]int   // how many began in each epoch and have not ended
	ended     *sync.Cond    // a section has

	work   sync.WaitGroup
	cancel context.CancelFunc
}

// NewReplica makes a Replica. It answers nothing before Start.
func NewReplica(driver storagedriver.StorageDriver, options Options) *Replica {
	return newReplica(driver, options.withDefaults(), usesSize, writesSize)
}

func newReplica(driver storagedriver.StorageDriver, options Options, usesSize, writesSize int) *Replica {
	r := &Replica{
		driver: driver, reader: layout.NewReader(driver, 4), options: options,
		sections: map[int]int{}, debris: map[string]time.Duration{},
		uses:   newRecent(window, usesSize, options.Clock()),
		writes: newRecent(writesWindow, writesSize, options.Clock()),
	}
	r.ended = sync.NewCond(&r.mu)
	r.installed.Store(&[]*installed{})
	return r
}

// Start registers the replica, and goes on asking for runs until Close. An error means
// that it could not be registered yet: it is tried again.
func (r *Replica) Start(ctx context.Context) error {
	err := r.Poll(ctx)
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.work.Go(func() {
		for {
			wait := time.Duration(r.options.Pace)
			if r.IsBusy() || !r.isValid() {
				wait = r.options.Pace.busy()
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if err := r.Poll(ctx); err != nil && ctx.Err() == nil {
				r.options.Failed(err)
			}
		}
	})
	return err
}

// Close removes the registration. No section may begin afterwards.
func (r *Replica) Close(ctx context.Context) error {
	if r.cancel != nil {
		r.cancel()
	}
	r.mu.Lock()
	joined, id := r.joined, r.id
	r.joined = false
	r.ended.Broadcast()
	r.mu.Unlock()
	r.work.Wait()
	if !joined {
		return nil
	}
	if err := layout.Remove(ctx, r.driver, layout.Replica(id)); err != nil {
		return fmt.Errorf("removing the registration of this replica: %w", err)
	}
	return nil
}

// Poll asks for runs once, and does what they ask for. It registers the replica first if
// it is not, or if its lease has run out.
func (r *Replica) Poll(ctx context.Context) error {
	r.polls.Lock()
	defer r.polls.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.options.Pace.lease())
	defer cancel()
	if !r.isValid() {
		if err := r.join(ctx); err != nil {
			return fmt.Errorf("registering this replica: %w", err)
		}
		return nil
	}
	sent := r.options.Clock()
	active, err := listActive(ctx, r.driver)
	if err != nil {
		return fmt.Errorf("asking for runs of the collector: %w", err)
	}
	if !slices.Contains(active.Replicas, r.id) {
		return r.deregistered()
	}
	// A collector takes a replica for one whose lease has run out if it does not say that
	// it has seen the candidates. So the lease is renewed only when it has.
	if err := r.follow(ctx, active.Runs, false); err != nil {
		return err
	}
	r.renew(sent)
	return nil
}

// deregistered ends the lease, because collectors do not know of this replica: somebody has
// removed its registration, or restored a backup without it.
func (r *Replica) deregistered() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lapse()
	return errors.New("the registration of this replica is gone")
}

// join registers the replica under a new name, and takes part in all runs before it serves.
func (r *Replica) join(ctx context.Context) (err error) {
	id := rand.Text()
	defer func() {
		if err != nil { // or collectors would wait for one that has never served
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.Pace.lease())
			defer cancel()
			r.withdraw(ctx, id)
		}
	}()
	if err := r.driver.PutContent(ctx, layout.Replica(id), []byte(id)); err != nil {
		return err
	}
	r.mu.Lock()
	again := r.id != ""
	r.id = id
	r.mu.Unlock()
	for _, i := range *r.installed.Load() { // under another name
		i.seen, i.ack, i.answer = false, task{}, task{}
	}
	sent := r.options.Clock()
	active, err := listActive(ctx, r.driver)
	if err != nil {
		return err
	}
	if err := r.follow(ctx, active.Runs, true); err != nil {
		return err
	}
	if again {
		r.options.Failed(errRegisteredAgain)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if again || r.unguarded { // a run may have come and gone meanwhile
		r.suspects.everything()
		r.unguarded = false
	}
	r.joined, r.lease = true, sent+r.options.Pace.lease()
	return nil
}

// withdraw removes a registration that has come to nothing, and what a full disk may have left
// of it.
func (r *Replica) withdraw(ctx context.Context, id string) {
	_ = r.driver.Delete(ctx, layout.Replica(id))
	active, _ := listActive(ctx, r.driver)
	for _, file := range active.Unfinished {
		if strings.HasPrefix(file, layout.Replica(id)+".") {
			_ = r.driver.Delete(ctx, file)
		}
	}
}

// listActive lists the runs and the registrations.
func listActive(ctx context.Context, driver storagedriver.StorageDriver) (layout.ActiveNames, error) {
	paths, err := driver.List(ctx, layout.Active)
	if err != nil && !layout.IsNotFound(err) {
		return layout.ActiveNames{}, fmt.Errorf("listing %s: %w", layout.Active, err)
	}
	return layout.ParseActive(paths), nil
}

// renew renews the lease from when a list was sent that has succeeded, unless it had run
// out by then.
func (r *Replica) renew(sent time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.joined && sent > r.lease {
		r.lapse()
	}
	r.lease = max(r.lease, sent+r.options.Pace.lease())
}

// Registered reports whether collectors know of this replica, so that it may store
// something.
func (r *Replica) Registered() bool { return r.isValid() }

// isValid reports whether the lease is valid now.
func (r *Replica) isValid() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.validLocked()
}

func (r *Replica) validLocked() bool {
	if r.joined && r.options.Clock() > r.lease {
		r.lapse()
	}
	return r.joined
}

func (r *Replica) lapse() {
	if r.joined {
		r.joined = false
		r.gaps++
		clear(r.sections) // all of them will be refused
		r.ended.Broadcast()
	}
}

// drain waits until all sections have ended that began before an epoch. It fails if the
// lease runs out meanwhile.
func (r *Replica) drain(ctx context.Context, epoch int) error {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	gaps := r.gaps
	for {
		older := 0
		for e, n := range r.sections {
			if e < epoch {
				older += n
			}
		}
		switch {
		case older == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case r.gaps != gaps: // what began before it is refused
			return errLapsed
		}
		r.ended.Wait()
	}
}

var errRegisteredAgain = errors.New("this replica had lost contact with the storage, and has registered again")

var errLapsed = errors.New("the lease of this replica has run out")
