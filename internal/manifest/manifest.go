// Package manifest is the vocabulary of the manifests that the registry knows:
// which type one has, what it refers to, and which subject it is attached to, all
// read from its own bytes.
package manifest

import (
	_ "crypto/sha256" // the digests that a descriptor may carry
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of Docker's manifests.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// The annotations that say when an artifact was made, as RFC 3339.
const (
	AnnotationORASCreated = "io.cncf.oras.artifact.created"
	AnnotationOCICreated  = v1.AnnotationCreated
)

// Manifest is what the registry needs to know of a manifest.
type Manifest struct {
	// MediaType is the one in the body, or the one that the body is seen to have.
	MediaType string
	// ArtifactType is the type that OCI 1.1 lists: the manifest's own, or the media
	// type of an image manifest's config where it has none of its own.
	ArtifactType string
	// Subject is the manifest this one is attached to, or nil.
	Subject *v1.Descriptor
	// Annotations are the manifest's own.
	Annotations map[string]string
	// References are the config, layers, blobs and child manifests: all that the
	// manifest needs, its subject not among them.
	References []v1.Descriptor

	places []place // of References
}

// place is where a reference stands: a member, and where in its list; -1 if the
// member is no list.
type place struct {
	member   string
	position int
}

// Field names the i-th of References as it stands in the document.
func (m *Manifest) Field(i int) string {
	p := m.places[i]
	if p.position < 0 {
		return p.member
	}
	return fmt.Sprintf("%s[%d]", p.member, p.position)
}

// ErrUnknown is returned for a JSON object that is no manifest of a known type.
var ErrUnknown = errors.New("not a manifest of a known type")

// Parse reads a stored manifest of any type. It is lenient, for what is stored
// cannot be refused any more: a member that is not as it should be counts as
// absent. The error is ErrUnknown, or says why the content is no JSON object.
func (t *Types) Parse(content []byte) (*Manifest, error) {
	doc, kind, err := t.recognize(content)
	if err != nil {
		return nil, err
	}
	m, _ := doc.manifest(kind)
	return m, nil
}

// Describe is Parse for callers that do not need References, which can be most of
// a manifest's bytes: they are left out.
func (t *Types) Describe(content []byte) (*Manifest, error) {
	doc, kind, err := t.recognize(content)
	if err != nil {
		return nil, err
	}
	return doc.describe(kind, new(Problems)), nil
}

func (t *Types) recognize(content []byte) (*document, Type, error) {
	doc, err := decode(content)
	if err != nil {
		return nil, Type{}, err
	}
	kind, ok := t.typeOf(doc)
	if !ok {
		return nil, Type{}, ErrUnknown
	}
	return doc, kind, nil
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
	doc.text("artifactType", &problems) // clients fail on a manifest that they find where it is none
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

// Dated reads by what referrers are told apart in time: their artifactType, and when they
// say that they were created, as the OCI API orders them; the zero time if they do not.
func (t *Types) Dated(content []byte) (artifactType string, created time.Time, err error) {
	m, err := t.Describe(content)
	if err != nil {
		return "", time.Time{}, err
	}
	return m.ArtifactType, m.Created(AnnotationOCICreated, t.CreatedAnnotation(m.MediaType)), nil
}

// typeOf is the type that a document says it has, or is seen to have.
func (t *Types) typeOf(d *document) (Type, bool) {
	var problems Problems
	if mediaType := d.text("mediaType", &problems); mediaType != "" {
		return t.Of(mediaType)
	}
	switch {
	case !d.has("schemaVersion") && d.text("artifactType", &problems) != "":
		for _, known := range t.all() {
			if known.MediaTypeOptional {
				return known, true
			}
		}
	case !d.has("schemaVersion"):
	case d.has("manifests"):
		return t.Of(v1.MediaTypeImageIndex)
	case d.has("config") || d.has("layers"):
		return t.Of(v1.MediaTypeImageManifest)
	}
	return Type{}, false
}

// manifest reads the members that a manifest of the given type has. What is
// wrong with them is reported, and left out of the result.
func (d *document) manifest(t Type) (*Manifest, Problems) {
	var problems Problems
	m := d.describe(t, &problems)
	for _, reference := range t.References {
		member, isList := strings.CutSuffix(reference, "[]")
		if !isList {
			if desc := d.descriptor(member, &problems); desc != nil {
				m.References, m.places = append(m.References, *desc), append(m.places, place{member, -1})
			}
			continue
		}
		list, positions := d.descriptors(member, &problems)
		m.References = append(m.References, list...)
		for _, position := range positions {
			m.places = append(m.places, place{member, position})
		}
	}
	return m, problems
}

// describe reads all but the references.
func (d *document) describe(t Type, problems *Problems) *Manifest {
	m := &Manifest{
		MediaType:    t.MediaType,
		ArtifactType: d.text("artifactType", problems),
		Annotations:  d.texts("annotations", problems),
	}
	if !t.withoutSubject {
		m.Subject = d.descriptor("subject", problems)
	}
	if m.ArtifactType == "" && t.typedByConfig {
		if config := d.descriptor("config", new(Problems)); config != nil {
			m.ArtifactType = config.MediaType
		}
	}
	return m
}
