package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// What is wrong with a manifest that cannot be read.
var (
	ErrNoContent = errors.New("its bytes are not in the storage")
	ErrCorrupt   = errors.New("its bytes do not have its digest")
)

// IsBroken reports whether an error is about the manifest, and not about the
// storage that it was read from.
func IsBroken(err error) bool { return errors.Is(err, ErrNoContent) || errors.Is(err, ErrCorrupt) }

// IsNotFound reports whether a storage driver says that a path is not there. On
// filesystems, a folder may go while it is listed.
func IsNotFound(err error) bool {
	var other storagedriver.Error
	return errors.As(err, new(storagedriver.PathNotFoundError)) || errors.As(err, &other) && errors.Is(other.Detail, fs.ErrNotExist)
}

// Remove deletes a file or folder that may be gone already. Not every driver says in the
// same way that something is not there, so the storage is asked.
func Remove(ctx context.Context, driver storagedriver.StorageDriver, path string) error {
	err := driver.Delete(ctx, path)
	if err == nil || IsNotFound(err) {
		return nil
	}
	if _, statErr := driver.Stat(ctx, path); IsNotFound(statErr) {
		return nil
	}
	return err
}

// IsInterference reports whether an operation of a driver failed because another process
// made or removed a file in the same folder meanwhile. Object stores whose objects are files
// answer 409 then.
func IsInterference(err error) bool {
	var other storagedriver.Error
	if errors.As(err, &other) {
		err = other.Detail
	}
	var answer interface{ StatusCode() int }
	return errors.As(err, new(storagedriver.PathNotFoundError)) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || // a folder that is not empty
		errors.As(err, &answer) && answer.StatusCode() == 409
}

// interferences is how often something is tried that another registry got in the way of:
// filesystems make a file and its folder in two steps, and remove them in two. Each time,
// the other has come one step further.
const interferences = 100

// Undisturbed does something, and does it again when another registry on the same tree got
// in the way of it.
func Undisturbed(ctx context.Context, do func() error) error {
	var err error
	for range interferences {
		if err = do(); err == nil || ctx.Err() != nil || !IsInterference(err) {
			return err
		}
	}
	return err
}

// MaxManifest is the largest manifest that distribution accepts, in bytes.
const MaxManifest = 4 << 20

// smallManifest is how many bytes of a manifest are read before it has to wait
// for one of the few slots for large ones.
const smallManifest = 128 << 10

// Reader reads from a storage tree. How many manifests it has in memory at once is
// bounded.
type Reader struct {
	driver storagedriver.StorageDriver
	reads  chan struct{}
	large  chan struct{}
}

// NewReader makes a Reader that reads so many manifests at once, and two large
// ones.
func NewReader(driver storagedriver.StorageDriver, atOnce int) *Reader {
	return &Reader{driver: driver, reads: make(chan struct{}, atOnce), large: make(chan struct{}, 2)}
}

// Manifest hands the bytes of a manifest to use, having checked that they have its
// digest. They must not be kept.
func (r *Reader) Manifest(ctx context.Context, d digest.Digest, use func(content []byte) error) error {
	release, err := acquire(ctx, r.reads)
	if err != nil {
		return err
	}
	defer release()
	reader, err := r.driver.Reader(ctx, BlobData(d), 0)
	switch {
	case IsNotFound(err):
		return ErrNoContent
	case err != nil:
		return fmt.Errorf("reading manifest %s: %w", d, err)
	}
	defer func() { _ = reader.Close() }()
	content, err := io.ReadAll(io.LimitReader(reader, smallManifest))
	if err == nil && len(content) == smallManifest {
		release, err := acquire(ctx, r.large)
		if err != nil {
			return err
		}
		defer release()
		all := bytes.NewBuffer(make([]byte, 0, MaxManifest+bytes.MinRead))
		all.Write(content)
		if _, err := io.Copy(all, io.LimitReader(reader, MaxManifest-smallManifest+1)); err != nil { // one more is too many
			return fmt.Errorf("reading manifest %s: %w", d, err)
		}
		content = all.Bytes()
	}
	switch {
	case err != nil:
		return fmt.Errorf("reading manifest %s: %w", d, err)
	case d.Algorithm().FromBytes(content) != d:
		return ErrCorrupt
	}
	return use(content)
}

// ErrTooLarge is returned by Derived for a file that is larger than it may be.
var ErrTooLarge = errors.New("the file is larger than it may be")

// Derived hands the content of a derived file to use, unless it is larger than
// limit bytes. Few are in memory at once. The content must not be kept.
func (r *Reader) Derived(ctx context.Context, file string, limit int, use func(content []byte)) error {
	release, err := acquire(ctx, r.large)
	if err != nil {
		return err
	}
	defer release()
	reader, err := r.driver.Reader(ctx, file, 0)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	content, err := io.ReadAll(io.LimitReader(reader, int64(limit)+1))
	switch {
	case err != nil:
		return err
	case len(content) > limit:
		return ErrTooLarge
	}
	use(content)
	return nil
}

// Holds reports whether a link is there. A file of another length than its digest
// was not written to its end. It costs one storage operation.
func (r *Reader) Holds(ctx context.Context, link string, d digest.Digest) (bool, error) {
	info, err := r.driver.Stat(ctx, link)
	switch {
	case IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("asking for %s: %w", link, err)
	}
	return info.Size() == int64(len(d)), nil
}

// Names returns a function that returns the names in a folder, in one storage operation.
func Names(driver storagedriver.StorageDriver) func(ctx context.Context, folder string) ([]string, error) {
	return func(ctx context.Context, folder string) ([]string, error) {
		names, err := driver.List(ctx, folder)
		for i := range names {
			names[i] = path.Base(names[i])
		}
		return names, err
	}
}

// ListRevisions lists the manifests of a repository with a function that returns the names
// in a folder. On filesystems, some may be folders that a delete has left empty. It costs
// one storage operation for each of Algorithms.
func ListRevisions(ctx context.Context, names func(context.Context, string) ([]string, error), name string) ([]digest.Digest, error) {
	algorithms := Algorithms()
	lists := make([][]string, len(algorithms))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, algorithm := range algorithms {
		group.Go(func() (err error) {
			lists[i], err = names(groupCtx, Revisions(name)+"/"+algorithm.String())
			if err != nil && !IsNotFound(err) {
				return fmt.Errorf("listing the manifests of %s: %w", name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found := make([]digest.Digest, 0, len(lists[0]))
	for i, list := range lists {
		for _, hex := range list {
			if d, ok := ManifestDigest(hex); ok && d.Algorithm() == algorithms[i] {
				found = append(found, d)
			}
		}
	}
	return found, nil
}

func acquire(ctx context.Context, slots chan struct{}) (release func(), err error) {
	if err := ctx.Err(); err != nil { // and not only if there happens to be no slot
		return nil, err
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
