package harness

import (
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/internal/manifest"
)

// ManifestTypes are those that the registry of main knows.
func ManifestTypes() *manifest.Types {
	return manifest.NewTypes(append(oras.New().ManifestTypes(), oci.New().ManifestTypes()...)...)
}
