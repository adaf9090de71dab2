// Package referrers is the index from subjects to the manifests that refer to
// them: link files in the storage tree, beside distribution's own.
//
// The invariants, and what holds them:
//
//   - The links are the truth. Each is a folder of its own, made by one write and
//     removed by one delete, so that writers on any number of replicas never
//     overwrite one another. Every listing reads the folder of its subject anew.
//   - When a push is answered, its link and its revision are there. A delete
//     removes the link first. What a listing has not seen before it checks against
//     the revision, so that a link whose revision is gone, or has not come yet, is
//     not shown.
//   - All else is derived, and believed only as far as it proves itself: memory
//     holds what a manifest's bytes say, which their digest makes immutable; the
//     file beside a subject holds those bytes, which are hashed when it is read;
//     the file of scanned revisions only says which manifests need not be read
//     again to know whether they have a subject. That they are linked to it is held
//     against the links.
//   - A repository answers once it is known that each of its manifests that has a
//     subject is linked (see scan). Until then it answers ErrNotReady, never a
//     short list.
package referrers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/maypok86/otter/v2"
	"github.com/opencontainers/go-digest"
)

// Options say how an Index works. Zero values mean the defaults.
type Options struct {
	// CacheSize is how much memory the known descriptors may take, in bytes.
	CacheSize int
	// Concurrency is how many storage operations one task may have under way.
	Concurrency int
	// Wait is how long a listing waits for a repository that is not ready.
	Wait time.Duration
	// MaxAnnotations is the size, in bytes of JSON, above which a manifest's
	// annotations are not listed.
	MaxAnnotations int
	// ReadOnly forbids all writing. What would have been written is then kept in
	// memory.
	ReadOnly bool
	// Background makes all repositories ready after start: see PrepareAll.
	Background bool
	// Link gives a file of the storage a second name, where that can be done: it
	// fails if the file is not there, and with fs.ErrExist if the name is taken. It
	// may be nil.
	Link func(file, name string) error
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

// Observer is told what an Index comes across, for logs and metrics.
type Observer interface {
	// Skipped is called for an entry that a listing leaves out.
	Skipped(repository string, subject, referrer digest.Digest, reason error)
	// Restored is called for a link that was lost and has been made again.
	Restored(repository string, subject, referrer digest.Digest)
	// Scanned is called for a repository whose manifests have been looked at.
	Scanned(repository string, result ScanResult)
	// Failed is called for work in the background that will be tried again.
	Failed(repository string, err error)
}

// Index is the index of all repositories of one storage driver. Its methods may
// be called from many goroutines.
type Index struct {
	driver   storagedriver.StorageDriver
	options  Options
	sets     *otter.Cache[setKey, *Set]
	repos    *otter.Cache[string, *repoState]
	contents *otter.Cache[digest.Digest, []byte] // that a scan has read, and a listing may be about to
	listings flights[setKey, *Set]
	scans    flights[string, *repoState]
	derived  derivedWriter

	ctx    context.Context // that of the work in the background
	cancel context.CancelFunc
	work   sync.WaitGroup
}

type setKey struct {
	repository string
	subject    digest.Digest
}

// ErrNotReady is returned for a repository whose manifests have not been looked
// at yet. The work goes on; asking again after RetryAfter is worth while.
type ErrNotReady struct {
	Repository string
	RetryAfter time.Duration
}

// Error implements error.
func (e ErrNotReady) Error() string {
	return fmt.Sprintf("repository %s is being indexed", e.Repository)
}

// New makes an Index over a storage driver. Close ends its work.
func New(driver storagedriver.StorageDriver, options Options) *Index {
	setDefault(&options.CacheSize, DefaultCacheSize)
	setDefault(&options.Concurrency, DefaultConcurrency)
	setDefault(&options.Wait, DefaultWait)
	setDefault(&options.MaxAnnotations, DefaultMaxAnnotations)
	if options.Observer == nil {
		options.Observer = silent{}
	}
	x := &Index{driver: driver, options: options}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	x.scans.detached = true
	contents := options.CacheSize / 8
	x.sets = otter.Must(&otter.Options[setKey, *Set]{
		MaximumWeight: uint64(options.CacheSize - contents),
		Weigher:       func(_ setKey, set *Set) uint32 { return set.weight },
	})
	x.contents = otter.Must(&otter.Options[digest.Digest, []byte]{
		MaximumWeight: uint64(contents),
		Weigher:       func(_ digest.Digest, content []byte) uint32 { return uint32(len(content)) + 256 },
	})
	x.repos = otter.Must(&otter.Options[string, *repoState]{ // one that is forgotten costs two storage operations
		MaximumWeight: uint64(options.CacheSize),
		Weigher:       func(_ string, state *repoState) uint32 { return state.weight() },
	})
	x.derived.start(x)
	return x
}

// Close writes what is known but not yet written, and ends the work in the
// background. Storage operations that hang are given up when ctx ends.
func (x *Index) Close(ctx context.Context) error {
	err := x.derived.stop(ctx)
	x.cancel()
	ended := make(chan struct{})
	go func() {
		x.work.Wait()
		x.scans.work.Wait()
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
	x.repos.Invalidate(repository)
	x.derived.forget(repository)
}

// isNotFound reports whether a storage driver says that a path is not there.
func isNotFound(err error) bool {
	return errors.As(err, new(storagedriver.PathNotFoundError))
}

func setDefault[T comparable](value *T, byDefault T) {
	var zero T
	if *value == zero {
		*value = byDefault
	}
}

// silent is the Observer of an Index that has none.
type silent struct{}

func (silent) Skipped(string, digest.Digest, digest.Digest, error) {}
func (silent) Scanned(string, ScanResult)                          {}
func (silent) Restored(string, digest.Digest, digest.Digest)       {}
func (silent) Failed(string, error)                                {}
