package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// What is wrong with a manifest that cannot be read.
var (
	ErrNoContent = errors.New("the manifest's bytes are not in the storage")
	ErrCorrupt   = errors.New("the manifest's bytes do not have its digest")
)

// IsBroken reports whether an error is about the manifest, and not about the
// storage that it was read from.
func IsBroken(err error) bool { return errors.Is(err, ErrNoContent) || errors.Is(err, ErrCorrupt) }

// IsNotFound reports whether a storage driver says that a path is not there.
func IsNotFound(err error) bool { return errors.As(err, new(storagedriver.PathNotFoundError)) }

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

func acquire(ctx context.Context, slots chan struct{}) (release func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
