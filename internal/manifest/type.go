package manifest

import (
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxArtifactType is the longest artifactType that is accepted, in bytes.
const MaxArtifactType = 255

// Type is one type of manifests: what its documents look like, and what is asked
// of those that are pushed. Its documents may name a subject and have annotations
// (image-spec v1.1, "subject" and "annotations").
type Type struct {
	// MediaType stands in Content-Type and in the body.
	MediaType string
	// References names the members that hold what a manifest needs: each a
	// descriptor ("config") or, with brackets, a list of descriptors ("layers[]").
	References []string
	// CreatedAnnotation names the annotation that says when a manifest was made, as
	// RFC 3339. Where there is also org.opencontainers.image.created, the OCI API
	// goes by that one.
	CreatedAnnotation string
	// MediaTypeOptional accepts a body that does not say its media type. At most one
	// type can do so.
	MediaTypeOptional bool
	// ArtifactTypeRequired refuses a manifest without an artifactType.
	ArtifactTypeRequired bool
	// SubjectMustExist refuses a manifest whose subject is not in the repository.
	SubjectMustExist bool
	// Convertible makes `registry referrers convert` convert manifests of the type to
	// OCI image manifests, for clients that do not know the type.
	Convertible bool

	withoutSubject bool // a member of that name means nothing
	typedByConfig  bool // the media type of the config stands for a missing artifactType
}

// builtin are the types that distribution brings.
func builtin() []Type {
	return []Type{
		{
			MediaType: v1.MediaTypeImageManifest, References: []string{"config", "layers[]"},
			CreatedAnnotation: AnnotationORASCreated, typedByConfig: true,
		},
		{MediaType: v1.MediaTypeImageIndex, References: []string{"manifests[]"}, CreatedAnnotation: AnnotationORASCreated},
		{MediaType: MediaTypeDockerManifest, References: []string{"config", "layers[]"}, withoutSubject: true},
		{MediaType: MediaTypeDockerList, References: []string{"manifests[]"}, withoutSubject: true},
	}
}

// Types is the types that a registry knows: distribution's own and those of its
// extensions. A nil one knows distribution's own.
type Types struct {
	list []Type
}

// NewTypes makes a list of distribution's types and more.
func NewTypes(more ...Type) *Types { return &Types{append(builtin(), more...)} }

// ExtraOf is Of for types beside distribution's own.
func (t *Types) ExtraOf(mediaType string) (Type, bool) {
	for _, known := range t.Extra() {
		if known.MediaType == mediaType {
			return known, true
		}
	}
	return Type{}, false
}

// Extra is the types beside distribution's own.
func (t *Types) Extra() []Type { return t.all()[len(builtin()):] }

func (t *Types) all() []Type {
	if t == nil || t.list == nil {
		return builtin()
	}
	return t.list
}

// Of returns the type with a media type.
func (t *Types) Of(mediaType string) (Type, bool) {
	for _, known := range t.all() {
		if known.MediaType == mediaType {
			return known, true
		}
	}
	return Type{}, false
}

// CreatedAnnotation is the annotation that dates manifests of a type, empty for a
// type that is not known.
func (t *Types) CreatedAnnotation(mediaType string) string {
	known, _ := t.Of(mediaType)
	return known.CreatedAnnotation
}

// Fingerprint tells lists of types apart that read a document differently.
func (t *Types) Fingerprint() string {
	var texts []string
	for _, known := range t.all() {
		texts = append(texts, strings.Join(append([]string{known.MediaType, known.CreatedAnnotation}, known.References...), " "))
	}
	slices.Sort(texts)
	return digest.FromString(strings.Join(texts, "\n")).Encoded()[:16]
}

// members is the names in References without brackets.
func (t Type) members() []string {
	names := make([]string, len(t.References))
	for i, reference := range t.References {
		names[i] = strings.TrimSuffix(reference, "[]")
	}
	return names
}

// Parse reads a pushed manifest of the type strictly. Everything that is wrong
// with it is reported at once; the manifest is nil only if it cannot be read at
// all.
func (t Type) Parse(content []byte) (*Manifest, Problems) {
	doc, err := decode(content)
	if err != nil {
		return nil, Problems{{Reason: err.Error()}}
	}
	m, problems := doc.manifest(t)
	t.checkRepeated(doc, &problems)
	t.checkMediaType(doc, &problems)
	switch {
	case m.ArtifactType == "" && !doc.has("artifactType"):
		if t.ArtifactTypeRequired {
			problems.Add("artifactType", "must be given")
		}
	case m.ArtifactType == "":
		problems.Add("artifactType", "must be a string that is not empty")
	case len(m.ArtifactType) > MaxArtifactType:
		problems.Add("artifactType", "must have at most %d bytes", MaxArtifactType)
	}
	if created, ok := m.Annotations[t.CreatedAnnotation]; ok {
		if _, err := time.Parse(time.RFC3339, created); err != nil {
			problems.Add("annotations["+t.CreatedAnnotation+"]", "%q is not an RFC 3339 date and time", created)
		}
	}
	return m, problems
}

// checkRepeated checks that no member that means something stands more than once.
func (t Type) checkRepeated(doc *document, problems *Problems) {
	for _, name := range append([]string{"mediaType", "artifactType", "subject", "annotations"}, t.members()...) {
		if doc.repeated[name] {
			problems.Add(name, "stands more than once")
		}
	}
}

// checkMediaType checks that a document is of no other type than Content-Type
// says (CVE-2021-41190).
func (t Type) checkMediaType(doc *document, problems *Problems) {
	switch mediaType := doc.text("mediaType", problems); {
	case mediaType == "" && !doc.has("mediaType") && t.MediaTypeOptional:
		// Without a media type inside, the body must not look like another type.
		for _, name := range []string{"schemaVersion", "config", "layers", "manifests"} {
			if doc.has(name) && !slices.Contains(t.members(), name) {
				problems.Add(name, "belongs to another type of manifest than %s", t.MediaType)
			}
		}
	case mediaType != t.MediaType:
		problems.Add("mediaType", "must be %s, as in Content-Type", t.MediaType)
	}
}
