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
	kind     manifest.Type
	content  []byte
	parsed   *manifest.Manifest // nil if the content cannot be read at all
	problems manifest.Problems  // found in the content alone
}

// References implements distribution.Manifest.
func (a *Artifact) References() []v1.Descriptor {
	if a.parsed == nil {
		return nil
	}
	return a.parsed.References
}

// Payload implements distribution.Manifest: the bytes that were pushed.
func (a *Artifact) Payload() (mediaType string, content []byte, err error) {
	return a.kind.MediaType, a.content, nil
}

// RegisterTypes makes distribution hand manifests of these types to a Namespace.
// It changes distribution's process-wide table, and may be called again.
func RegisterTypes(types []manifest.Type) error {
	for _, kind := range types {
		if slices.Contains(distribution.ManifestMediaTypes(), kind.MediaType) {
			continue
		}
		unmarshal := func(content []byte) (distribution.Manifest, v1.Descriptor, error) {
			return newArtifact(kind, content), v1.Descriptor{
				MediaType: kind.MediaType,
				Digest:    digest.FromBytes(content),
				Size:      int64(len(content)),
			}, nil
		}
		if err := distribution.RegisterManifestSchema(kind.MediaType, unmarshal); err != nil {
			return fmt.Errorf("registering the manifest type %s: %w", kind.MediaType, err)
		}
	}
	return nil
}

// newArtifact reads an artifact manifest. What is wrong with it is kept, so that
// a push can report it together with what is missing in the repository.
func newArtifact(kind manifest.Type, content []byte) *Artifact {
	parsed, problems := kind.Parse(content)
	return &Artifact{kind: kind, content: slices.Clone(content), parsed: parsed, problems: problems}
}
