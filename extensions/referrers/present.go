package referrers

import (
	"context"
	"errors"
	"fmt"
	"path"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
)

// present lists the manifests that are in a repository.
func (x *Index) present(ctx context.Context, repository string) (map[digest.Digest]struct{}, error) {
	found := map[digest.Digest]struct{}{}
	if !foldersOutliveContent(x.driver) {
		paths, err := x.driver.List(ctx, layout.Revisions(repository)+"/"+digest.Canonical.String())
		if err != nil && !isNotFound(err) {
			return nil, fmt.Errorf("listing the manifests of %s: %w", repository, err)
		}
		for _, p := range paths {
			if hex := path.Base(p); isHex(hex) {
				found[digest.NewDigestFromEncoded(digest.Canonical, hex)] = struct{}{}
			}
		}
		return found, nil
	}
	root := layout.Revisions(repository)
	for {
		err := x.driver.Walk(ctx, root, func(file storagedriver.FileInfo) error {
			if d, ok := layout.ParseRevision(repository, file.Path()); ok && !file.IsDir() {
				found[d] = struct{}{}
			}
			return nil
		})
		var missing storagedriver.PathNotFoundError
		switch {
		case err == nil:
			return found, nil
		case !errors.As(err, &missing):
			return nil, fmt.Errorf("listing the manifests of %s: %w", repository, err)
		case missing.Path == root:
			return found, nil
		}
		// A folder was removed while it was being walked.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		clear(found)
	}
}

// foldersOutliveContent reports whether a driver lists folders that nothing is
// left in, as real filesystems do and object stores do not. Deleting a manifest
// there leaves a folder that a plain listing would take for the manifest.
func foldersOutliveContent(driver storagedriver.StorageDriver) bool {
	return driver.Name() == "filesystem" || driver.Name() == "inmemory"
}
