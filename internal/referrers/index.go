// Package referrers is the index from subjects to the manifests that refer to
// them: link files in the storage tree, beside distribution's own.
//
// The invariants, and why they hold:
//
//   - The links are the truth. Each is a file of its own, written by one operation
//     and removed by one, so that writers on any number of replicas never overwrite
//     one another. Every listing lists the folder of its subject.
//   - When a push is answered, its revision and its link are there. A delete removes
//     the link first. So a link that this process has seen with its revision, and
//     that is still there, needs no second question; every other one is asked for
//     its revision before it is listed.
//   - All else is derived: in memory and in files it holds only what the bytes of a
//     manifest say, which their digest makes immutable. Such a fact may be missing,
//     and then the bytes are read; it cannot be out of date. What is there, what is
//     gone and what is linked is asked of revisions and links.
//   - A repository answers once it is known of each of its manifests which subject
//     it names (see scan). Those that this process has not asked for yet are asked
//     for when their subject is listed first, and linked if they are not, which other
//     replicas are told while it lasts (see restore).
package referrers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/maypok86/otter/v2"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"

	"github.com/oras-distribution/registry/internal/flight"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// Options say how an Index works. Zero values mean the defaults.
type Options struct {
	// CacheSize is how many bytes the index may keep in memory, all told.
	CacheSize int
	// Concurrency is how many storage operations one task may have under way.
	Concurrency int
	// Wait is how long a listing waits for a repository that is not ready.
	Wait time.Duration
	// MaxAnnotations is the size, in bytes of JSON, above which a manifest's
	// annotations are not listed.
	MaxAnnotations int
	// Background makes all repositories ready after start: see PrepareAll.
	Background bool
	// Types are the types of manifests that are known. Nil are distribution's own.
	Types *manifest.Types
	// Unlisted reports whether manifests of a media type are left out of all
	// listings. It may be nil.
	Unlisted func(mediaType string) bool
	// Names is layout.Names of the driver, or does the same faster. It may be nil.
	Names func(ctx context.Context, folder string) ([]string, error)
	// Observer is told what happens. It may be nil.
	Observer Observer
}

// The defaults of Options.
const (
	DefaultCacheSize      = 64 << 20
	DefaultConcurrency    = 16
	DefaultWait           = 10 * time.Second
	DefaultMaxAnnotations = 256 << 10
)

// minPages is how many bytes of large pages may be on their way to clients even if
// the cache is small.
const minPages = 16 << 20

// Observer is told what an Index comes across, for logs and metrics.
type Observer interface {
	// Skipped is called for an entry that a listing leaves out.
	Skipped(repository string, subject, referrer digest.Digest, reason error)
	// Linked is called when links were missing and have been made.
	Linked(repository string, links int)
	// Scanned is called for a repository that has become ready.
	Scanned(repository string, result ScanResult)
	// Failed is called for work in the background that will be tried again.
	Failed(repository string, err error)
}

// Index is the index of all repositories of one storage driver. Its methods may
// be called from many goroutines.
type Index struct {
	driver    storagedriver.StorageDriver
	options   Options
	pagesSize int
	types     string // the fingerprint of the manifest types, for derived files
	sets      *otter.Cache[setKey, *Set]
	facts     *otter.Cache[digest.Digest, *Referrer] // read by a scan or pushed, and about to be listed
	ready     readiness
	notes     notes
	reader    *layout.Reader
	pages     *semaphore.Weighted // bytes of large pages on their way to clients
	listings  flight.Group[setKey, *Set]
	scans     flight.Group[string, ScanResult]

	ctx    context.Context // of the work in the background
	cancel context.CancelFunc
	work   sync.WaitGroup
}

type setKey struct {
	repository string
	subject    digest.Digest
}

// NotReadyError is returned for a repository whose manifests have not all been
// read yet. The work goes on; asking again after RetryAfter is worth while.
type NotReadyError struct {
	Repository string
	RetryAfter time.Duration
}

// Retry is after how long asking again is worth while.
func (e NotReadyError) Retry() time.Duration { return e.RetryAfter }

// Error implements error.
func (e NotReadyError) Error() string {
	return fmt.Sprintf("repository %s is being indexed", e.Repository)
}

// New makes an Index over a storage driver. Over one that is layout.ReadOnly, what
// would be linked is asked for again by every listing. Close ends its work.
func New(driver storagedriver.StorageDriver, options Options) *Index {
	options.CacheSize = cmp.Or(options.CacheSize, DefaultCacheSize)
	options.Concurrency = cmp.Or(options.Concurrency, DefaultConcurrency)
	options.Wait = cmp.Or(options.Wait, DefaultWait)
	options.MaxAnnotations = cmp.Or(options.MaxAnnotations, DefaultMaxAnnotations)
	if options.Observer == nil {
		options.Observer = silent{}
	}
	if options.Names == nil {
		options.Names = layout.Names(driver)
	}
	x := &Index{
		driver: driver, options: options, types: options.Types.Fingerprint(),
		reader: layout.NewReader(driver, 4*DefaultConcurrency),
	}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	x.scans.Detached = true
	// The one budget: three quarters for what is listed, an eighth for what
	// readiness keeps, a sixteenth each for facts on their way to a listing and to a
	// derived file.
	part := options.CacheSize / 16
	x.sets = otter.Must(&otter.Options[setKey, *Set]{
		MaximumWeight: uint64(options.CacheSize - 4*part),
		Weigher:       func(key setKey, set *Set) uint32 { return set.weight + uint32(len(key.repository)) },
	})
	x.facts = otter.Must(&otter.Options[digest.Digest, *Referrer]{
		MaximumWeight: uint64(max(part, 1)),
		Weigher:       func(_ digest.Digest, r *Referrer) uint32 { return uint32(r.weight()) + 128 },
	})
	x.ready.limit, x.ready.ready = 2*part, map[string]*unseen{}
	x.pagesSize = max(options.CacheSize/2, minPages)
	x.pages = semaphore.NewWeighted(int64(x.pagesSize))
	x.notes.start(x, part)
	return x
}

// Close writes what is known but not yet written, and ends the work in the
// background. Storage operations that hang are given up when ctx ends.
func (x *Index) Close(ctx context.Context) error {
	err := x.notes.stop(ctx)
	x.cancel()
	ended := make(chan struct{})
	go func() {
		x.work.Wait()
		x.scans.Work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Forget drops what is kept in memory about a repository that was removed.
func (x *Index) Forget(repository string) {
	x.ready.forget(repository)
	x.notes.forget(repository)
}

// failed tells the Observer of an error, if it is one. That nothing may be written is
// none.
func (x *Index) failed(repository string, err error) {
	if err != nil && !errors.Is(err, layout.ErrReadOnly) {
		x.options.Observer.Failed(repository, err)
	}
}

// silent is the Observer of an Index that has none.
type silent struct{}

func (silent) Skipped(string, digest.Digest, digest.Digest, error) {}
func (silent) Scanned(string, ScanResult)                          {}
func (silent) Linked(string, int)                                  {}
func (silent) Failed(string, error)                                {}
