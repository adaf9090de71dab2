package collection_test

import (
	"context"
	"io"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
)

// A manifest that somebody removes while a run reads it is no reason to give up. One whose bytes
// alone are missing is.
func TestManifestRemovedWhileItIsRead(t *testing.T) {
	content := []byte(`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}`)
	d := digest.FromBytes(content)
	for name, each := range map[string]struct {
		removed []string
		fails   bool
	}{
		"manifest": {[]string{layout.Revision("app", d), layout.BlobFolder(d)}, false},
		"bytes":    {[]string{layout.BlobFolder(d)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, driver := t.Context(), inmemory.New()
			for file, content := range map[string]string{layout.BlobData(d): string(content), layout.RevisionLink("app", d): d.String()} {
				if err := driver.PutContent(ctx, file, []byte(content)); err != nil {
					t.Fatal(err)
				}
			}
			removing := removedWhenRead{driver, layout.BlobData(d), func() {
				for _, folder := range each.removed {
					if err := driver.Delete(ctx, folder); err != nil && !layout.IsNotFound(err) {
						t.Error(err)
					}
				}
			}}
			_, err := collection.Collect(ctx, removing, collection.RunOptions{Garbage: gc.Options{DryRun: true}})
			if (err != nil) != each.fails {
				t.Errorf("the run ends with %v", err)
			}
		})
	}
}

// removedWhenRead is a storage driver in which somebody removes a file just before it is read.
type removedWhenRead struct {
	storagedriver.StorageDriver
	file   string
	remove func()
}

// Reader implements storagedriver.StorageDriver.
func (d removedWhenRead) Reader(ctx context.Context, file string, offset int64) (io.ReadCloser, error) {
	if file == d.file {
		d.remove()
	}
	return d.StorageDriver.Reader(ctx, file, offset)
}
