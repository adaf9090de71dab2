package gc

import (
	"context"
	"io"
	"sync"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// hooked is a driver that calls hook before each operation. The operation fails if the
// hook does.
type hooked struct {
	storagedriver.StorageDriver
	hook func(operation, path string) error
}

func (h hooked) GetContent(ctx context.Context, path string) ([]byte, error) {
	if err := h.hook("read", path); err != nil {
		return nil, err
	}
	return h.StorageDriver.GetContent(ctx, path)
}

func (h hooked) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if err := h.hook("read", path); err != nil {
		return nil, err
	}
	return h.StorageDriver.Reader(ctx, path, offset)
}

func (h hooked) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	if err := h.hook("stat", path); err != nil {
		return nil, err
	}
	return h.StorageDriver.Stat(ctx, path)
}

func (h hooked) List(ctx context.Context, path string) ([]string, error) {
	if err := h.hook("list", path); err != nil {
		return nil, err
	}
	return h.StorageDriver.List(ctx, path)
}

func (h hooked) PutContent(ctx context.Context, path string, content []byte) error {
	if err := h.hook("write", path); err != nil {
		return err
	}
	return h.StorageDriver.PutContent(ctx, path, content)
}

func (h hooked) Delete(ctx context.Context, path string) error {
	if err := h.hook("delete", path); err != nil {
		return err
	}
	return h.StorageDriver.Delete(ctx, path)
}

// counter counts operations by kind.
type counter struct {
	mu    sync.Mutex
	kinds map[string]int
}

func newCounter() *counter { return &counter{kinds: map[string]int{}} }

func (c *counter) count(operation, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[operation]++
	return nil
}

func (c *counter) total() (sum int) {
	for _, n := range c.kinds {
		sum += n
	}
	return sum
}
