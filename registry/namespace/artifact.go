package namespace

import (
	"fmt"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions/manifest"
)

// Artifact is an artifact manifest as distribution handles it.
type Artifact struct {
	kind     manifest.Artifact
	content  []byte
	parsed   *manifest.Manifest
	problems manifest.Problems // found in the content alone
}

// References implements distribution.Manifest.
func (a *Artifact) References() []v1.Descriptor { return a.parsed.References }

// Payload implements distribution.Manifest: the bytes that were pushed.
func (a *Artifact) Payload() (mediaType string, content []byte, err error) {
	return a.kind.MediaType, a.content, nil
}

// RegisterTypes makes distribution hand manifests of these types to a Namespace.
// It changes distribution's process-wide table, and may be called again.
func RegisterTypes(types []manifest.Artifact) error {
	for _, kind := range types {
		if slices.Contains(distribution.ManifestMediaTypes(), kind.MediaType) {
			continue
		}
		unmarshal := func(content []byte) (distribution.Manifest, v1.Descriptor, error) {
			a, err := newArtifact(kind, content)
			if err != nil {
				return nil, v1.Descriptor{}, err
			}
			return a, v1.Descriptor{
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

// newArtifact reads an artifact manifest. What is wrong with one that can be
// read at all is kept, so that a push can report it together with what is
// missing in the repository.
func newArtifact(kind manifest.Artifact, content []byte) (*Artifact, error) {
	parsed, problems := kind.Parse(content)
	if parsed == nil {
		return nil, problems
	}
	return &Artifact{kind: kind, content: slices.Clone(content), parsed: parsed, problems: problems}, nil
}
