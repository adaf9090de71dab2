// Package manifest is the vocabulary of the manifests that the registry knows:
// what kind one is, what it refers to, and which subject it is attached to, all
// read from its own bytes.
package manifest

import (
	_ "crypto/sha256" // the digests that a descriptor may carry
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of Docker's manifests and of the two kinds of artifact
// manifests that distribution does not know.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeORASArtifact   = "application/vnd.cncf.oras.artifact.manifest.v1+json"
	MediaTypeOCIArtifact    = "application/vnd.oci.artifact.manifest.v1+json"
)

// The annotations that say when an artifact was made, as RFC 3339.
const (
	AnnotationORASCreated = "io.cncf.oras.artifact.created"
	AnnotationOCICreated  = v1.AnnotationCreated
)

// MaxSize is the largest manifest that distribution accepts, in bytes.
const MaxSize = 4 << 20

// Manifest is what the registry needs to know of a manifest.
type Manifest struct {
	// MediaType is the one in the body, or the one that the body is seen to have.
	MediaType string
	// ArtifactType is the type that OCI 1.1 lists: the manifest's own, or that of
	// an image manifest's config where it has none of its own.
	ArtifactType string
	// Subject is the manifest this one is attached to, or nil.
	Subject *v1.Descriptor
	// Annotations are the manifest's own.
	Annotations map[string]string
	// References are the config, layers, blobs and child manifests: all that the
	// manifest needs, its subject not among them.
	References []v1.Descriptor

	positions []int // of References in the list that they stand in
}

// Field names the i-th of References as it stands in the document.
func (m *Manifest) Field(i int) string {
	list := "layers"
	switch {
	case IsArtifact(m.MediaType):
		list = "blobs"
	case m.MediaType == v1.MediaTypeImageIndex || m.MediaType == MediaTypeDockerList:
		list = "manifests"
	}
	if m.positions[i] < 0 {
		return "config"
	}
	return fmt.Sprintf("%s[%d]", list, m.positions[i])
}

// ErrUnknown is returned for a JSON object that is no manifest of a known kind.
var ErrUnknown = errors.New("not a manifest of a known kind")

// Parse reads a stored manifest of any kind. It is lenient, for what is stored
// cannot be refused any more: a member that is not as it should be counts as
// absent. The error is ErrUnknown, or says why the content is no JSON object.
func Parse(content []byte) (*Manifest, error) {
	doc, err := decode(content)
	if err != nil {
		return nil, err
	}
	mediaType := doc.kind()
	if mediaType == "" {
		return nil, ErrUnknown
	}
	m, _ := doc.manifest(mediaType)
	return m, nil
}

// Describe is Parse for callers that do not need References, which can be most of
// a manifest's bytes: they are left out.
func Describe(content []byte) (*Manifest, error) {
	doc, err := decode(content)
	if err != nil {
		return nil, err
	}
	mediaType := doc.kind()
	if mediaType == "" {
		return nil, ErrUnknown
	}
	return doc.describe(mediaType, new(Problems)), nil
}

// ParseSubject reads what a manifest of one of distribution's own types says
// about its subject (image-spec v1.1, manifest and index, "subject"). A nil
// descriptor means that there is none; problems, that it is no valid descriptor.
func ParseSubject(content []byte) (*v1.Descriptor, Problems) {
	// Nearly all manifests have no subject, and need not be decoded again.
	if text := string(content); !strings.Contains(text, `"subject"`) && !strings.Contains(text, `\u`) {
		return nil, nil
	}
	doc, err := decode(content)
	if err != nil {
		return nil, Problems{{Field: "", Reason: err.Error()}}
	}
	var problems Problems
	if doc.repeated["subject"] {
		problems.Add("subject", "stands more than once")
	}
	subject := doc.descriptor("subject", &problems)
	return subject, problems
}

// Created is the time in the first of the named annotations that is there and
// is RFC 3339, and the zero time if there is none.
func (m *Manifest) Created(annotations ...string) time.Time {
	for _, name := range annotations {
		if t, err := time.Parse(time.RFC3339, m.Annotations[name]); err == nil {
			return t
		}
	}
	return time.Time{}
}

// kind is the media type that a document says it has, or is seen to have.
func (d *document) kind() string {
	var problems Problems
	if mediaType := d.text("mediaType", &problems); mediaType != "" {
		switch mediaType {
		case v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, MediaTypeDockerManifest,
			MediaTypeDockerList, MediaTypeORASArtifact, MediaTypeOCIArtifact:
			return mediaType
		}
		return ""
	}
	switch {
	case !d.has("schemaVersion") && d.text("artifactType", &problems) != "":
		return MediaTypeORASArtifact // draft.1 clients leave mediaType out
	case !d.has("schemaVersion"):
		return ""
	case d.has("manifests"):
		return v1.MediaTypeImageIndex
	case d.has("config") || d.has("layers"):
		return v1.MediaTypeImageManifest
	}
	return ""
}

// manifest reads the members that a manifest of the given type has. What is
// wrong with them is reported, and left out of the result.
func (d *document) manifest(mediaType string) (*Manifest, Problems) {
	var problems Problems
	m := d.describe(mediaType, &problems)
	switch mediaType {
	case v1.MediaTypeImageIndex, MediaTypeDockerList:
		m.References, m.positions = d.descriptors("manifests", &problems)
	case MediaTypeORASArtifact, MediaTypeOCIArtifact:
		m.References, m.positions = d.descriptors("blobs", &problems)
	default:
		if config := d.descriptor("config", &problems); config != nil {
			m.References, m.positions = append(m.References, *config), append(m.positions, -1)
		}
		layers, positions := d.descriptors("layers", &problems)
		m.References, m.positions = append(m.References, layers...), append(m.positions, positions...)
	}
	return m, problems
}

// describe reads all but the references.
func (d *document) describe(mediaType string, problems *Problems) *Manifest {
	m := &Manifest{
		MediaType:    mediaType,
		ArtifactType: d.text("artifactType", problems),
		Annotations:  d.texts("annotations", problems),
	}
	if mediaType != MediaTypeDockerManifest && mediaType != MediaTypeDockerList {
		m.Subject = d.descriptor("subject", problems) // Docker's manifests know no subject
	}
	if m.ArtifactType == "" && mediaType == v1.MediaTypeImageManifest {
		if config := d.descriptor("config", new(Problems)); config != nil {
			m.ArtifactType = config.MediaType
		}
	}
	return m
}

// IsArtifact reports whether a media type is one of the artifact manifests'.
func IsArtifact(mediaType string) bool {
	return mediaType == MediaTypeORASArtifact || mediaType == MediaTypeOCIArtifact
}

// Problem is one thing that is wrong with a manifest.
type Problem struct {
	// Field is where: a member's name, with an index in a list ("blobs[2].digest").
	// It is empty for the document as a whole.
	Field string `json:"field,omitempty"`
	// Reason says what is wrong.
	Reason string `json:"reason"`
	// Missing is the digest of content that is not in the repository.
	Missing digest.Digest `json:"missing,omitempty"`
}

// Problems is everything that is wrong with one manifest. As an error it is one
// line.
type Problems []Problem

// Add appends a problem.
func (p *Problems) Add(field, format string, args ...any) {
	*p = append(*p, Problem{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// AddMissing appends the problem that content is not in the repository.
func (p *Problems) AddMissing(field string, missing digest.Digest) {
	*p = append(*p, Problem{Field: field, Reason: "not in this repository", Missing: missing})
}

// Err is p as an error, nil if there are no problems.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Error implements error.
func (p Problems) Error() string {
	parts := make([]string, len(p))
	for i, problem := range p {
		parts[i] = strings.TrimPrefix(problem.Field+": "+problem.Reason, ": ")
	}
	return strings.Join(parts, "; ")
}

// Distinct is p with the first problem of each field only.
func (p Problems) Distinct() Problems {
	seen := make(map[string]bool, len(p))
	var distinct Problems
	for _, problem := range p {
		if !seen[problem.Field] {
			distinct = append(distinct, problem)
		}
		seen[problem.Field] = true
	}
	return distinct
}

// OnlyMissing reports whether all that is wrong is content that is not there.
func (p Problems) OnlyMissing() bool {
	for _, problem := range p {
		if problem.Missing == "" {
			return false
		}
	}
	return len(p) > 0
}
