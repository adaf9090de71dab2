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
	"io/fs"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/maypok86/otter/v2"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
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

// attempts is how often a write is tried that another registry on the same tree
// may have got in the way of: filesystems make a file and its folder in two steps.
const attempts = 5

// Add records that referrer, a manifest of the repository, refers to subject. It
// is listed by every replica when Add returns. It costs two storage operations,
// or one where files can have two names.
func (x *Index) Add(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	if x.alias(ctx, repository, subject, referrer) {
		return nil
	}
	err := x.put(ctx, repository, subject, referrer)
	// A delete of the same manifest may have come in between, on another replica,
	// and must not leave a link behind.
	var there bool
	checkErr := despite(ctx, func(ctx context.Context) (err error) {
		if there, err = x.HasRevision(ctx, repository, referrer); err != nil || there {
			return err
		}
		return x.drop(ctx, repository, subject, referrer)
	})
	if checkErr == nil && !there {
		return ErrDeleted{Repository: repository, Manifest: referrer}
	}
	return errors.Join(err, checkErr)
}

// alias makes the link a second name of the revision's own, which says the same.
// That does not wait for the disk: a link that is lost with the power is missed
// by the next process, which makes it again (see repoState.noted). And it takes a
// revision that is there, so that no delete meanwhile can leave a link behind.
func (x *Index) alias(ctx context.Context, repository string, subject, referrer digest.Digest) bool {
	if x.options.Link == nil || ctx.Err() != nil {
		return false
	}
	err := x.options.Link(layout.RevisionLink(repository, referrer), layout.ReferrerLink(repository, subject, referrer))
	if errors.Is(err, fs.ErrExist) { // from an earlier push, and perhaps torn
		there, statErr := x.hasLink(ctx, repository, subject, referrer)
		return there && statErr == nil
	}
	return err == nil
}

// AddNew is Add for a manifest whose bytes were not in the storage before, so
// that nobody can be deleting it. It costs one storage operation.
func (x *Index) AddNew(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	if x.alias(ctx, repository, subject, referrer) {
		return nil
	}
	return x.put(ctx, repository, subject, referrer)
}

// AddAgain is Add for a manifest that was stored before and is probably linked.
// It costs one storage operation if it is.
func (x *Index) AddAgain(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	there, err := x.hasLink(ctx, repository, subject, referrer)
	if err != nil || there {
		return err
	}
	return x.Add(ctx, repository, subject, referrer)
}

// ErrDeleted is returned by Add for a manifest that is not in the repository.
type ErrDeleted struct {
	Repository string
	Manifest   digest.Digest
}

// Error implements error.
func (e ErrDeleted) Error() string {
	return fmt.Sprintf("manifest %s was deleted from %s while it was being pushed", e.Manifest, e.Repository)
}

// put writes one link.
func (x *Index) put(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	var err error
	for range attempts { // the folder may be taken away while the file is made
		err = x.driver.PutContent(ctx, layout.ReferrerLink(repository, subject, referrer), []byte(referrer))
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("linking %s to its subject %s in %s: %w", referrer, subject, repository, err)
}

// Pushed tells the index that a manifest, with its subject or none, is in the
// repository and linked. It costs no storage operation, and saves reading the
// manifest after the next start.
func (x *Index) Pushed(repository string, manifest, subject digest.Digest) {
	x.derived.pushed(repository, manifest, subject)
}

// Delete runs remove, which removes a manifest from the repository, and keeps
// the index in step: the links go first. If anything fails, they are put back.
func (x *Index) Delete(ctx context.Context, repository string, manifest, subject digest.Digest, remove func() error) error {
	subjects := []digest.Digest{subject}
	if subject == "" {
		// A referrers-tag index may have attached it nevertheless.
		known, err := x.readRevisions(ctx, repository)
		if err != nil {
			return err
		}
		subjects = known.subjects(manifest)
	}
	x.derived.deleted(repository, manifest)
	for _, s := range subjects {
		if err := x.remove(ctx, repository, s, manifest); err != nil {
			x.relinkAll(ctx, repository, subjects, manifest)
			return err
		}
	}
	if err := remove(); err != nil {
		x.relinkAll(ctx, repository, subjects, manifest)
		return err // as it is: distribution's handler tells errors apart by their values
	}
	// A push of the same manifest meanwhile may have linked a revision that is
	// gone again.
	for _, s := range subjects {
		err := despite(ctx, func(ctx context.Context) error {
			if linked, err := x.hasLink(ctx, repository, s, manifest); err != nil || !linked {
				return err
			}
			if there, err := x.HasRevision(ctx, repository, manifest); err != nil || there {
				return err
			}
			return x.drop(ctx, repository, s, manifest)
		})
		if err != nil {
			x.options.Observer.Failed(repository, err)
		}
	}
	return nil
}

// remove removes one link. That it is not there is no error.
func (x *Index) remove(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	var err error
	for range attempts { // a file may be made in the folder while it is emptied
		err = x.driver.Delete(ctx, layout.Referrer(repository, subject, referrer))
		if err == nil || isNotFound(err) {
			return nil
		}
		// Not every driver says in the same way that something is not there.
		_, statErr := x.driver.Stat(ctx, layout.Referrer(repository, subject, referrer))
		if isNotFound(statErr) {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("removing the link from %s to %s in %s: %w", referrer, subject, repository, err)
}

// drop removes the link of a manifest that is not in the repository. If the
// manifest is pushed meanwhile, it gets its link back.
func (x *Index) drop(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	if err := x.remove(ctx, repository, subject, referrer); err != nil {
		return err
	}
	return x.relink(ctx, repository, subject, referrer)
}

// clearUpTimeout is how long the clearing up after a push or delete may take
// that the client has broken off.
const clearUpTimeout = time.Second

// despite does what has to be done whatever becomes of the request: if that ends
// meanwhile, it is tried once more.
func despite(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearUpTimeout)
	defer cancel()
	return do(ctx)
}

// relinkAll puts back the links of a manifest that could not be deleted. Where
// that fails as well, the repository counts as not ready, and the manifest as
// not looked at: the next listing puts the link back first.
func (x *Index) relinkAll(ctx context.Context, repository string, subjects []digest.Digest, manifest digest.Digest) {
	err := despite(ctx, func(ctx context.Context) error {
		there, err := x.HasRevision(ctx, repository, manifest)
		if err == nil && !there {
			return nil
		}
		x.repos.Invalidate(repository)
		if err != nil {
			return err
		}
		for _, s := range subjects {
			err = errors.Join(err, x.relink(ctx, repository, s, manifest))
		}
		return err
	})
	if err != nil {
		x.options.Observer.Failed(repository, err)
	}
}

// relink puts a link back if its revision is still there, and as long as it is.
func (x *Index) relink(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	there, err := x.HasRevision(ctx, repository, referrer)
	if err != nil || !there {
		return err
	}
	if err := x.Add(ctx, repository, subject, referrer); !errors.As(err, new(ErrDeleted)) {
		return err
	}
	return nil
}

// HasRevision reports whether a manifest is in the repository, whatever a
// descriptor cache says. It costs one storage operation.
func (x *Index) HasRevision(ctx context.Context, repository string, manifest digest.Digest) (bool, error) {
	return x.holds(ctx, layout.RevisionLink(repository, manifest), manifest)
}

// hasLink reports whether the referrer is linked to the subject.
func (x *Index) hasLink(ctx context.Context, repository string, subject, referrer digest.Digest) (bool, error) {
	return x.holds(ctx, layout.ReferrerLink(repository, subject, referrer), referrer)
}

// holds reports whether a file is there whose content is the digest. A file of
// another length was not written to its end.
func (x *Index) holds(ctx context.Context, file string, d digest.Digest) (bool, error) {
	info, err := x.driver.Stat(ctx, file)
	switch {
	case isNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for %s: %w", file, err)
	}
	return info.Size() == int64(len(d)), nil
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
func (silent) Failed(string, error)                                {}
