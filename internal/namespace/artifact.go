package namespace

import (
	"fmt"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/manifest"
)

// Artifact is an artifact manifest as distribution handles it.
type Artifact struct {
	mediaType string
	content   []byte
	parsed    *manifest.Manifest // nil until it is read, and if it cannot be
}

// References implements distribution.Manifest. A manifest that is pushed has none
// until it is put into a repository, whose registry knows its type.
func (a *Artifact) References() []v1.Descriptor {
	if a.parsed == nil {
		return nil
	}
	return a.parsed.References
}

// Payload implements distribution.Manifest: the bytes that were pushed.
func (a *Artifact) Payload() (mediaType string, content []byte, err error) {
	return a.mediaType, a.content, nil
}

// RegisterTypes makes distribution hand manifests of these types to a Namespace.
// It changes distribution's process-wide table, and may be called again.
func RegisterTypes(types []manifest.Type) error {
	for _, kind := range types {
		mediaType := kind.MediaType
		if slices.Contains(distribution.ManifestMediaTypes(), mediaType) {
			continue
		}
		unmarshal := func(content []byte) (distribution.Manifest, v1.Descriptor, error) {
			return &Artifact{mediaType: mediaType, content: slices.Clone(content)}, v1.Descriptor{
				MediaType: mediaType,
				Digest:    digest.FromBytes(content),
				Size:      int64(len(content)),
			}, nil
		}
		if err := distribution.RegisterManifestSchema(mediaType, unmarshal); err != nil {
			return fmt.Errorf("registering the manifest type %s: %w", mediaType, err)
		}
	}
	return nil
}
