package derived

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
)

// tree is what is stored, beside the registries.
type tree struct {
	driver storagedriver.StorageDriver
	root   string // the folder of a filesystem
}

// atOnce is the number of storage operations at a time.
const atOnce = 16

// read reads all files below a folder, by their paths. What is renamed or removed
// meanwhile is left out.
func (t *tree) read(ctx context.Context, folder string) (map[string][]byte, error) {
	files := map[string][]byte{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	err := t.driver.Walk(ctx, folder, func(info storagedriver.FileInfo) error {
		if info.IsDir() {
			return nil
		}
		group.Go(func() error {
			content, err := t.driver.GetContent(ctx, info.Path())
			if errors.As(err, new(storagedriver.PathNotFoundError)) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			files[info.Path()] = content
			return err
		})
		return nil
	})
	if errors.As(err, new(storagedriver.PathNotFoundError)) {
		err = nil
	}
	return files, errors.Join(err, group.Wait())
}

// write writes files.
func (t *tree) write(ctx context.Context, files map[string][]byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for path, content := range files {
		group.Go(func() error {
			if t.root != "" {
				return t.replace(path, content)
			}
			return t.driver.PutContent(ctx, path, content)
		})
	}
	return group.Wait()
}

// replace writes a file of a filesystem without syncing it to disk.
func (t *tree) replace(path string, content []byte) error {
	path = filepath.Join(t.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".restored", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".restored", path)
}

// remove removes a file or a folder, if it is there. A registry may put something
// into the folder meanwhile.
func (t *tree) remove(ctx context.Context, path string) error {
	var err error
	for range 10 {
		if err = layout.Remove(ctx, t.driver, path); err == nil {
			return nil
		}
	}
	return err
}

// times are those of all files and folders below a folder, where they can be set.
func (t *tree) times(folder string) (map[string]time.Time, error) {
	times := map[string]time.Time{}
	if t.root == "" {
		return times, nil
	}
	err := filepath.WalkDir(filepath.Join(t.root, folder), func(path string, entry fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil:
			times[path] = info.ModTime()
		}
		return err
	})
	return times, err
}

// setTimes sets what times returned, or other times.
func (t *tree) setTimes(times map[string]time.Time) error {
	for path, modified := range times {
		if err := os.Chtimes(path, modified, modified); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
