// Package gc removes content that a registry no longer needs from its storage.
//
// A run has four steps. It reads every repository: links of the index, tags,
// manifests, layer links. It marks, in each repository by itself, what is
// reachable (see Mark): a manifest reaches what it references and its referrers,
// and an alias reaches the digest that its content is stored under.
// It lists the blobs and finds those that no repository keeps. Only after all of
// this has been read without errors does it sweep, in an order in which a run that
// is interrupted at any point leaves nothing reachable broken, and nothing that the
// next run does not find again.
//
// The cost is linear in manifests, tags, links and blobs: each is read a fixed
// number of times. Memory is 110 to 150 bytes for each digest.
package gc

import (
	"context"
	"fmt"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/pulls"
	"github.com/oras-distribution/registry/internal/retention"
)

// DefaultConcurrency is the number of storage operations at a time if Options does
// not say.
const DefaultConcurrency = 16

// Options say what a run removes, and how. The zero value removes content that no
// manifest needs.
type Options struct {
	// DryRun removes nothing, and reports what would be removed.
	DryRun bool
	// Untagged removes manifests that no tag needs.
	Untagged bool
	// Dangling removes untagged referrers whose subject is not in the repository.
	// With Untagged they go anyway.
	Dangling bool
	// SkipCorrupt continues if something cannot be read: its repository is kept as it
	// is, with all blobs that it could need.
	SkipCorrupt bool
	// OlderThan keeps manifests and blobs that were stored more recently. Content that
	// was stored after the run began is always kept.
	OlderThan time.Duration
	// Concurrency is the limit of storage operations at a time. 0 means the default.
	Concurrency int
	// Retain says which tags and referrers of a repository stay. Where it returns nil, all
	// of them do, as they do everywhere if it is nil. Manifests that were needed only by what
	// does not stay are removed with it.
	Retain func(repository string) *retention.Rule
	// Describe reads what Retain has to know of a referrer: its artifactType, and the time
	// that it states, zero if there is none. Nil means distribution's own types.
	Describe func(content []byte) (artifactType string, created time.Time, err error)
	// Reach reads what a stored manifest reaches. Nil means distribution's own types.
	Reach Reach
	// Yield is called before each storage operation: it may wait a moment, for the sake of
	// who else uses the storage. It may be nil.
	Yield func(context.Context)
	// Progress is told about the progress of the run. It may be nil.
	Progress Progress
	// Announce is called before anything is removed, with what is going to be. It may
	// be nil; an error ends the run.
	Announce func(context.Context, *Found) error
}

// Reach reads from the bytes of a manifest what it needs, with sizes in bytes where
// the manifest states them, and its subject, empty if it has none: a subject
// reaches its referrers. The error says why the content is not a manifest.
type Reach func(content []byte) (references []manifest.Reached, subject digest.Digest, err error)

// Progress is told about the progress of a run: the counters are "repositories",
// "manifests", "blobs", "removed", in a dry run "removable", and the "bytes" of those.
type Progress interface {
	Expect(counter string, n int64)
	Add(counter string, n int64)
}

// collector is one run.
type collector struct {
	store   *store
	options Options
	began   time.Time
	cutoff  time.Time // what was stored later is kept
	online  bool      // others use the tree meanwhile
	digests *digests
	pulls   pulls.Records

	repositories []*repository
	garbage      ids // blobs to be removed

	mu         sync.Mutex
	blind      bool  // what some repository needs is not known: no blob may be removed
	unrecorded error // a record of what is being removed could not be written
	report     Report

	sinceMu sync.Mutex
	since   map[string]time.Time // by rules: since when the pulls that they ask for are recorded
}

// Collect removes from the storage what is no longer needed according to options. The
// report says what was done, even if there is an error; an error while reading means
// that nothing was removed. Running it again finishes what an error or the end of ctx
// has interrupted.
func Collect(ctx context.Context, driver storagedriver.StorageDriver, options Options) (Report, error) {
	c := newCollector(driver, options)
	err := c.run(ctx)
	c.finishReport()
	return c.report, err
}

func newCollector(driver storagedriver.StorageDriver, options Options) *collector {
	if options.Concurrency <= 0 {
		options.Concurrency = DefaultConcurrency
	}
	if options.Reach == nil {
		options.Reach = new(manifest.Types).Reach
	}
	if options.Describe == nil {
		options.Describe = new(manifest.Types).Dated
	}
	if options.Yield == nil {
		options.Yield = func(context.Context) {}
	}
	if options.Progress == nil {
		options.Progress = silent{}
	}
	now := time.Now()
	return &collector{
		store:   newStore(driver, options),
		options: options,
		began:   now,
		cutoff:  now.Add(-options.OlderThan),
		digests: newDigests(),
		pulls:   pulls.Open(driver),
		since:   map[string]time.Time{},
		report:  Report{DryRun: options.DryRun},
	}
}

func (c *collector) run(ctx context.Context) error {
	if err := c.read(ctx); err != nil {
		return c.untouched(err)
	}
	if c.options.Announce != nil && !c.options.DryRun {
		if err := c.options.Announce(ctx, newFound(c)); err != nil {
			return c.untouched(err)
		}
	}
	return c.sweep(ctx)
}

// read reads everything and decides what is garbage.
func (c *collector) read(ctx context.Context) error {
	if err := c.findRepositories(ctx); err != nil {
		return err
	}
	if err := each(ctx, c.store, c.repositories, c.inspect); err != nil {
		return err
	}
	return c.findGarbage(ctx)
}

// untouched is an error before anything was removed.
func (c *collector) untouched(err error) error {
	if c.options.DryRun {
		return err
	}
	return fmt.Errorf("nothing was removed: %w", err)
}

// inspect reads a repository and decides what to remove from it.
func (c *collector) inspect(ctx context.Context, r *repository) error {
	if err := c.scan(ctx, r); err != nil {
		return err
	}
	if err := c.decide(ctx, r); err != nil {
		return err
	}
	c.options.Progress.Add("repositories", 1)
	return nil
}

// trouble is called for what cannot be read. It returns the error that ends the
// run, or nil if the run goes on; then the repository, if there is one, is kept
// as it is.
func (c *collector) trouble(ctx context.Context, r *repository, err error) error {
	if ctx.Err() != nil || !c.options.SkipCorrupt {
		return err
	}
	problem := Problem{Reason: err.Error()}
	if r != nil {
		problem.Repository = r.name
		r.mu.Lock()
		r.damaged = true
		r.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Problems = append(c.report.Problems, problem)
	return nil
}

// keepBlobs records that it is not known which blobs are needed.
func (c *collector) keepBlobs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blind = true
}

// silent is the Progress of a run that has none.
type silent struct{}

func (silent) Expect(string, int64) {}
func (silent) Add(string, int64)    {}
