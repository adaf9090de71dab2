package manifest

import (
	"time"
)

// MaxArtifactType is the longest artifactType that is accepted, in bytes.
const MaxArtifactType = 255

// Artifact is a kind of artifact manifest that distribution does not know: a
// list of blobs with a type and, usually, a subject. Its values say what is
// special about the kind.
type Artifact struct {
	// MediaType stands in Content-Type and in the body.
	MediaType string
	// MediaTypeOptional accepts a body that does not say its media type.
	MediaTypeOptional bool
	// SubjectMustExist refuses a manifest whose subject is not in the repository.
	SubjectMustExist bool
	// CreatedAnnotation is RFC 3339 where it is given.
	CreatedAnnotation string
}

// Parse reads a pushed manifest of the kind strictly. Everything that is wrong
// with it is reported at once; the manifest is nil only if it cannot be read at
// all.
func (a Artifact) Parse(content []byte) (*Manifest, Problems) {
	doc, err := decode(content)
	if err != nil {
		return nil, Problems{{Reason: err.Error()}}
	}
	m, problems := doc.manifest(a.MediaType)
	for _, name := range []string{"mediaType", "artifactType", "blobs", "subject", "annotations"} {
		if doc.repeated[name] {
			problems.Add(name, "stands more than once")
		}
	}
	switch mediaType := doc.text("mediaType", &problems); {
	case mediaType == "" && !doc.has("mediaType") && a.MediaTypeOptional:
		// Without a media type inside, the body must not look like another kind.
		for _, name := range []string{"schemaVersion", "config", "layers", "manifests"} {
			if doc.has(name) {
				problems.Add(name, "belongs to another kind of manifest than %s", a.MediaType)
			}
		}
	case mediaType != a.MediaType:
		problems.Add("mediaType", "must be %s, as in Content-Type", a.MediaType)
	}
	switch {
	case m.ArtifactType == "" && !doc.has("artifactType"):
		problems.Add("artifactType", "must be given")
	case m.ArtifactType == "":
		problems.Add("artifactType", "must be a string that is not empty")
	case len(m.ArtifactType) > MaxArtifactType:
		problems.Add("artifactType", "must have at most %d bytes", MaxArtifactType)
	}
	if created, ok := m.Annotations[a.CreatedAnnotation]; ok {
		if _, err := time.Parse(time.RFC3339, created); err != nil {
			problems.Add("annotations["+a.CreatedAnnotation+"]", "%q is not an RFC 3339 date and time", created)
		}
	}
	return m, problems
}
