package referrers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unique"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
	"github.com/oras-distribution/registry/extensions/manifest"
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
	// ORASCreated and OCICreated are the times in the annotations of that name, the
	// zero time where there is none.
	ORASCreated time.Time `json:"orasCreated,omitzero"`
	OCICreated  time.Time `json:"ociCreated,omitzero"`
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
func (r *Referrer) dated() bool { return !r.OCICreated.IsZero() || !r.ORASCreated.IsZero() }

// Abridged reports whether the annotations have to be read: see Set.Annotated.
func (r *Referrer) Abridged() bool { return r.Annotations == nil && r.AnnotationsSize > 0 }

// What is wrong with a manifest that cannot be pulled.
var (
	errNoRevision = errors.New("the manifest is not in the repository")
	errNoContent  = errors.New("the manifest's bytes are not in the storage")
	errCorrupt    = errors.New("the manifest's bytes do not have its digest")
)

// isBroken reports whether an error is about the manifest, and not about the
// storage that it was read from.
func isBroken(err error) bool { return errors.Is(err, errNoContent) || errors.Is(err, errCorrupt) }

// describe reads a Referrer from a manifest's bytes. An error is final, for the
// bytes cannot change.
func describe(d digest.Digest, content []byte) (*Referrer, error) {
	m, err := manifest.Describe(content)
	if err != nil {
		return nil, err
	}
	r := &Referrer{
		Digest:      d,
		MediaType:   intern(m.MediaType),
		Size:        int64(len(content)),
		ORASCreated: m.Created(manifest.AnnotationORASCreated),
		OCICreated:  m.Created(manifest.AnnotationOCICreated),
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

// smallManifest is how many bytes of a manifest are read before it has to wait
// for one of the few slots for large ones.
const smallManifest = 128 << 10

// content reads the bytes of a manifest and checks that they have its digest.
// How many of them are in memory at once is bounded for the whole Index.
func (x *Index) content(ctx context.Context, d digest.Digest) ([]byte, error) {
	release, err := acquire(ctx, x.reads)
	if err != nil {
		return nil, err
	}
	defer release()
	content, err := x.readContent(ctx, layout.BlobData(d))
	switch {
	case isNotFound(err):
		return nil, errNoContent
	case err != nil:
		return nil, fmt.Errorf("reading manifest %s: %w", d, err)
	case d.Algorithm().FromBytes(content) != d:
		return nil, errCorrupt
	}
	return content, nil
}

func (x *Index) readContent(ctx context.Context, path string) ([]byte, error) {
	reader, err := x.driver.Reader(ctx, path, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }()
	content, err := io.ReadAll(io.LimitReader(reader, smallManifest))
	if err != nil || len(content) < smallManifest {
		return content, err
	}
	release, err := acquire(ctx, x.large)
	if err != nil {
		return nil, err
	}
	defer release()
	rest, err := io.ReadAll(io.LimitReader(reader, manifest.MaxSize-smallManifest+1)) // one more is too many
	return append(content, rest...), err
}

func acquire(ctx context.Context, slots chan struct{}) (release func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
