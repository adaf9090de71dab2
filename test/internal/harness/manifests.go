package harness

import (
	"cmp"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// The media types of manifests, configs and layers.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	MediaTypeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	MediaTypeOCIImage       = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	MediaTypeOCIConfig      = "application/vnd.oci.image.config.v1+json"
	MediaTypeOCILayer       = "application/vnd.oci.image.layer.v1.tar+gzip"
	MediaTypeORASArtifact   = "application/vnd.cncf.oras.artifact.manifest.v1+json"
	MediaTypeOCIArtifact    = "application/vnd.oci.artifact.manifest.v1+json"
)

// The annotations that say when something was created.
const (
	ORASCreated = "io.cncf.oras.artifact.created"
	OCICreated  = "org.opencontainers.image.created"
)

// Descriptor is a descriptor in a manifest or listing.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// Platform is that of an image in an index or list.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// BlobDescriptor describes a blob.
func BlobDescriptor(content []byte) Descriptor {
	return Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// Manifest is a manifest of any kind. The zero values of members that the kind
// does not have are left out of its bytes.
type Manifest struct {
	// ContentType is the header it is pushed with.
	ContentType string `json:"-"`
	// Raw replaces the bytes where it is not nil.
	Raw []byte `json:"-"`

	algorithm digest.Algorithm // of its digest, canonical if empty

	SchemaVersion int               `json:"schemaVersion,omitempty"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *Descriptor       `json:"config,omitempty"`
	Layers        *[]Descriptor     `json:"layers,omitempty"`
	Manifests     *[]Descriptor     `json:"manifests,omitempty"`
	Blobs         []Descriptor      `json:"blobs,omitempty"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// OCIImage is an OCI image manifest.
func OCIImage(config Descriptor, layers ...Descriptor) Manifest {
	layers = append([]Descriptor{}, layers...)
	return Manifest{ContentType: MediaTypeOCIImage, MediaType: MediaTypeOCIImage, SchemaVersion: 2, Config: &config, Layers: &layers}
}

// OCIIndex is an OCI image index.
func OCIIndex(manifests ...Descriptor) Manifest {
	manifests = append([]Descriptor{}, manifests...)
	return Manifest{ContentType: MediaTypeOCIIndex, MediaType: MediaTypeOCIIndex, SchemaVersion: 2, Manifests: &manifests}
}

// DockerImage is a Docker schema 2 manifest.
func DockerImage(config Descriptor, layers ...Descriptor) Manifest {
	m := OCIImage(config, layers...)
	m.ContentType, m.MediaType = MediaTypeDockerManifest, MediaTypeDockerManifest
	return m
}

// DockerList is a Docker manifest list. Its entries need a platform.
func DockerList(manifests ...Descriptor) Manifest {
	m := OCIIndex(manifests...)
	m.ContentType, m.MediaType = MediaTypeDockerList, MediaTypeDockerList
	return m
}

// ORASArtifact is an ORAS artifact manifest.
func ORASArtifact(artifactType string, blobs ...Descriptor) Manifest {
	return Manifest{ContentType: MediaTypeORASArtifact, MediaType: MediaTypeORASArtifact, ArtifactType: artifactType, Blobs: blobs}
}

// OCIArtifact is the short-lived OCI artifact manifest.
func OCIArtifact(artifactType string, blobs ...Descriptor) Manifest {
	return Manifest{ContentType: MediaTypeOCIArtifact, MediaType: MediaTypeOCIArtifact, ArtifactType: artifactType, Blobs: blobs}
}

// To is the manifest with a subject.
func (m Manifest) To(subject Descriptor) Manifest {
	m.Subject = &Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	return m
}

// Annotated is the manifest with a further annotation.
func (m Manifest) Annotated(name, value string) Manifest {
	annotations := map[string]string{name: value}
	maps.Insert(annotations, maps.All(m.Annotations))
	annotations[name] = value
	m.Annotations = annotations
	return m
}

// Typed is the manifest with another artifactType.
func (m Manifest) Typed(artifactType string) Manifest {
	m.ArtifactType = artifactType
	return m
}

// By is the manifest with a digest of another algorithm.
func (m Manifest) By(algorithm digest.Algorithm) Manifest {
	m.algorithm = algorithm
	return m
}

// Bytes are what is pushed.
func (m Manifest) Bytes() []byte {
	if m.Raw != nil {
		return slices.Clone(m.Raw)
	}
	return mustMarshal(m)
}

// Digest is that of the bytes.
func (m Manifest) Digest() digest.Digest {
	return cmp.Or(m.algorithm, digest.Canonical).FromBytes(m.Bytes())
}

// Descriptor describes the manifest as another one refers to it.
func (m Manifest) Descriptor() Descriptor {
	return Descriptor{MediaType: m.ContentType, Digest: m.Digest(), Size: int64(len(m.Bytes()))}
}

// Listed describes the manifest as a listing of referrers does.
func (m Manifest) Listed() Descriptor {
	d := m.Descriptor()
	d.Annotations = m.Annotations
	d.ArtifactType = m.ArtifactType
	if d.ArtifactType == "" && m.ContentType == MediaTypeOCIImage {
		d.ArtifactType = m.Config.MediaType
	}
	return d
}
