package registry

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/layout"
)

// filesystemDriver is the storage driver whose root is a folder of this machine.
const filesystemDriver = "filesystem"

// checkFile is written and deleted at start. Neither this registry nor distribution reads
// the folder that it is in, and replicas may write it at the same time.
const checkFile = layout.Root + "/write-check"

// checkTimeout is how long a storage may take to write a small file.
const checkTimeout = 30 * time.Second

// checkWritable reports why the storage cannot be written.
func checkWritable(ctx context.Context, c configuration.Storage) error {
	driver, err := createDriver(ctx, c)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	result := make(chan error, 1)
	go func() { // a driver may ignore that its context has ended
		err := driver.PutContent(ctx, checkFile, []byte("This file may be deleted.\n"))
		if err == nil {
			if err := layout.Remove(ctx, driver, checkFile); err != nil {
				logrus.Warnf("nothing can be deleted in the storage %s: %v", storageName(c), err)
			}
		}
		result <- err
	}()
	select {
	case err = <-result:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("the storage %s cannot be written: %w", storageName(c), err)
	}
	return nil
}

// checkRoot refuses a root folder that is not there, which a command would otherwise take
// for an empty storage.
func checkRoot(ctx context.Context, driver storagedriver.StorageDriver, c configuration.Storage) error {
	if c.Type() != filesystemDriver {
		return nil
	}
	switch info, err := driver.Stat(ctx, "/"); {
	case layout.IsNotFound(err):
		return fmt.Errorf("the storage %s does not exist", storageName(c))
	case err != nil:
		return fmt.Errorf("the storage %s cannot be read: %w", storageName(c), err)
	case !info.IsDir():
		return fmt.Errorf("the storage %s is not a folder", storageName(c))
	}
	return nil
}

// makeRepositories creates the folder that distribution walks to purge uploads, and
// without which it logs an error. If it cannot, checkWritable says so.
func makeRepositories(c configuration.Storage) {
	if root, ok := c.Parameters()["rootdirectory"].(string); ok && c.Type() == filesystemDriver {
		_ = os.MkdirAll(filepath.Join(root, filepath.FromSlash(layout.Repositories)), 0o777)
	}
}

// storageName names a storage to those who configured it.
func storageName(c configuration.Storage) string {
	kind, parameters := c.Type(), c.Parameters()
	where, _ := parameters["rootdirectory"].(string)
	if kind == filesystemDriver {
		if absolute, err := filepath.Abs(where); err == nil && where != "" {
			where = absolute
		}
	}
	for _, key := range []string{"bucket", "container"} {
		if name, ok := parameters[key].(string); ok {
			where = path.Join(name, where)
		}
	}
	if where == "" {
		return kind
	}
	return kind + " " + where
}
