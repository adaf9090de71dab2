package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3/configuration"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/base"
)

// The bounds of maxthreads, as in distribution's filesystem driver.
const minThreads, defaultThreads = 25, 100

// folderNames returns a function that returns the names in a folder for less than the
// filesystem driver does, nil for other drivers. That driver puts the path of the folder
// before each name and cleans the result, which takes longer than all the rest where a
// subject has many referrers. It counts in the same metrics, and makes the same spans.
func folderNames(config *configuration.Configuration) func(context.Context, string) ([]string, error) {
	parameters := config.Storage.Parameters()
	root, ok := parameters["rootdirectory"]
	if config.Storage.Type() != filesystemDriver || !ok || len(config.Middleware["storage"]) > 0 {
		return nil
	}
	threads, err := base.GetLimitFromParameter(parameters["maxthreads"], minThreads, defaultThreads)
	if err != nil {
		return nil // distribution reports it
	}
	return (&base.Base{StorageDriver: folders{root: fmt.Sprint(root), busy: make(chan struct{}, threads)}}).List
}

// folders is a storage driver that lists folders of this machine, and does nothing else.
type folders struct {
	storagedriver.StorageDriver
	root string
	busy chan struct{}
}

// Name implements storagedriver.StorageDriver.
func (folders) Name() string { return filesystemDriver }

// List returns the names in a folder, without its path.
func (f folders) List(_ context.Context, folder string) ([]string, error) {
	f.busy <- struct{}{}
	defer func() { <-f.busy }()
	dir, err := os.Open(filepath.Join(f.root, folder))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, storagedriver.PathNotFoundError{Path: folder}
	case err != nil:
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dir.Readdirnames(0)
}
