package referrers

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unique"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/manifest"
)

// Referrer is what a listing says of one manifest. All but Pushed is read from
// its bytes.
type Referrer struct {
	Digest       digest.Digest `json:"digest"`
	MediaType    string        `json:"mediaType"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Size         int64         `json:"size"`
	// Subject is the one that the manifest names, empty if it names none and was
	// attached by a referrers-tag index.
	Subject digest.Digest `json:"subject,omitempty"`
	// Annotations is the JSON object of the manifest's annotations, nil if it has
	// none or so many that they are read when they are listed: see Set.Annotated.
	Annotations json.RawMessage `json:"annotations,omitempty"`
	// AnnotationsSize is how long that object is, in bytes.
	AnnotationsSize int `json:"annotationsSize,omitempty"`
	// OCICreated is the time in the annotation org.opencontainers.image.created,
	// TypeCreated that in the one that dates manifests of this type; each is the zero
	// time where there is none.
	OCICreated  time.Time `json:"ociCreated,omitzero"`
	TypeCreated time.Time `json:"typeCreated,omitzero"`
	// Pushed is when the manifest was pushed first: the time of its bytes, as the
	// storage driver knows it. It is asked for where the manifest does not say when
	// it was created, and never stored.
	Pushed time.Time `json:"-"`
}

// What is kept of one manifest: longer texts are left out or read again.
const (
	maxKeptAnnotations = 16 << 10
	maxArtifactType    = 4 << 10
)

// referrerWeight is about what a Referrer takes in memory beside its texts.
const referrerWeight = 280

func (r *Referrer) weight() int {
	return referrerWeight + len(r.Annotations) + len(r.ArtifactType)
}

// dated reports whether the manifest says itself when it was created.
func (r *Referrer) dated() bool { return !r.OCICreated.IsZero() || !r.TypeCreated.IsZero() }

// Abridged reports whether the annotations have to be read: see Set.Annotated.
func (r *Referrer) Abridged() bool { return r.Annotations == nil && r.AnnotationsSize > 0 }

var errNoRevision = errors.New("the manifest is not in the repository")

// describe reads a Referrer from a manifest's bytes. An error is final, for the
// bytes cannot change.
func describe(types *manifest.Types, d digest.Digest, content []byte) (*Referrer, error) {
	m, err := types.Describe(content)
	if err != nil {
		return nil, err
	}
	r := &Referrer{
		Digest:      d,
		MediaType:   intern(m.MediaType),
		Size:        int64(len(content)),
		OCICreated:  m.Created(manifest.AnnotationOCICreated),
		TypeCreated: m.Created(types.CreatedAnnotation(m.MediaType)),
	}
	if len(m.ArtifactType) <= maxArtifactType {
		r.ArtifactType = intern(m.ArtifactType)
	}
	if m.Subject != nil {
		r.Subject = m.Subject.Digest
	}
	text, err := annotationsOf(m)
	if err != nil {
		return nil, err
	}
	if r.AnnotationsSize = len(text); len(text) <= maxKeptAnnotations {
		r.Annotations = text
	}
	return r, nil
}

func annotationsOf(m *manifest.Manifest) (json.RawMessage, error) {
	if len(m.Annotations) == 0 {
		return nil, nil
	}
	return json.Marshal(m.Annotations)
}

// intern gives texts that many manifests share one place in memory.
func intern(text string) string { return unique.Make(text).Value() }

// describe reads a Referrer from the bytes of a manifest in the storage.
func (x *Index) describe(ctx context.Context, d digest.Digest) (r *Referrer, err error) {
	err = x.reader.Manifest(ctx, d, func(content []byte) (err error) {
		if r, err = describe(x.options.Types, d, content); err != nil {
			return &unreadableError{err}
		}
		return nil
	})
	return r, err
}

// unreadableError is what is wrong with bytes that have their digest.
type unreadableError struct{ error }
