package gc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
)

// store is a storage driver with a limit on operations at a time. A path that does not
// exist is never an error, and every error names its path.
type store struct {
	driver storagedriver.StorageDriver
	reader *layout.Reader
	slots  chan struct{}
	yield  func(context.Context)
}

func newStore(driver storagedriver.StorageDriver, options Options) *store {
	atOnce := options.Concurrency
	return &store{driver: driver, reader: layout.NewReader(driver, atOnce), slots: make(chan struct{}, atOnce), yield: options.Yield}
}

// do runs one operation, and reports whether the path exists.
func (s *store) do(ctx context.Context, doing, file string, run func() error) (there bool, err error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	s.yield(ctx)
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err = run()
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, new(storagedriver.PathNotFoundError)):
		return false, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	return false, fmt.Errorf("%s %s: %w", doing, file, err)
}

// manifest hands the bytes of a manifest to use: see layout.Reader.
func (s *store) manifest(ctx context.Context, d digest.Digest, use func(content []byte) error) error {
	var readErr error
	_, err := s.do(ctx, "reading", layout.BlobData(d), func() error {
		readErr = s.reader.Manifest(ctx, d, use)
		return nil
	})
	return cmp.Or(err, readErr)
}

// list returns the paths of the entries of a folder.
func (s *store) list(ctx context.Context, folder string) (paths []string, there bool, err error) {
	there, err = s.do(ctx, "listing", folder, func() (err error) {
		paths, err = s.driver.List(ctx, folder)
		return err
	})
	if err != nil && ctx.Err() == nil {
		// A stray file is not a folder, and has none in it, which each driver reports in its
		// own way.
		for _, stray := range []string{folder, path.Dir(folder)} {
			if info, _ := s.stat(ctx, stray); info != nil && !info.IsDir() {
				return nil, false, nil
			}
		}
	}
	return paths, there, err
}

// read returns the content of a small file.
func (s *store) read(ctx context.Context, file string) (content []byte, there bool, err error) {
	there, err = s.do(ctx, "reading", file, func() (err error) {
		content, err = s.driver.GetContent(ctx, file)
		return err
	})
	return content, there, err
}

// stat returns the information about a path, nil if it does not exist.
func (s *store) stat(ctx context.Context, file string) (info storagedriver.FileInfo, err error) {
	there, err := s.do(ctx, "checking", file, func() (err error) {
		info, err = s.driver.Stat(ctx, file)
		return err
	})
	if !there {
		return nil, err
	}
	return info, nil
}

// write stores a small file.
func (s *store) write(ctx context.Context, file string, content []byte) error {
	_, err := s.do(ctx, "writing", file, func() error { return s.driver.PutContent(ctx, file, content) })
	return err
}

// remove deletes a path and everything below it.
func (s *store) remove(ctx context.Context, file string) (there bool, err error) {
	there, err = s.do(ctx, "deleting", file, func() error { return s.driver.Delete(ctx, file) })
	if err != nil && ctx.Err() == nil {
		// That it is gone, each driver reports in its own way, too.
		if info, statErr := s.stat(ctx, file); info == nil && statErr == nil {
			return false, nil
		}
	}
	return there, err
}

// digests lists a folder whose entries are <alg>/<hex>. Other entries are left
// out: they are nobody's.
func (s *store) digests(ctx context.Context, folder string) (list []digest.Digest, err error) {
	return s.digestsAnd(ctx, folder, nil)
}

// digestsAnd is digests, and hands the paths of other entries to other.
func (s *store) digestsAnd(ctx context.Context, folder string, other func(path string)) (list []digest.Digest, err error) {
	algorithms, _, err := s.list(ctx, folder)
	for _, algorithm := range algorithms {
		if err != nil {
			break
		}
		var found []digest.Digest
		found, err = s.digestsOf(ctx, digest.Algorithm(path.Base(algorithm)), algorithm, other)
		list = append(list, found...)
	}
	return list, err
}

// digestsOf lists a folder whose entries are hex digits.
func (s *store) digestsOf(ctx context.Context, algorithm digest.Algorithm, folder string, other func(path string)) (list []digest.Digest, err error) {
	names, _, err := s.list(ctx, folder)
	for _, name := range names {
		d := digest.NewDigestFromEncoded(algorithm, path.Base(name))
		if d.Validate() == nil {
			list = append(list, d)
		} else if other != nil {
			other(name)
		}
	}
	return list, err
}

// each calls do for all items, on as many goroutines as there may be operations at a
// time, and ends at the first error.
func each[T any](ctx context.Context, s *store, items []T, do func(context.Context, T) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(cap(s.slots))
	for _, item := range items {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return do(groupCtx, item) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
