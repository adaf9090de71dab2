package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// AnnotationConvertedFrom is an annotation of manifests that were converted. Its
// value is the digest of the original.
const AnnotationConvertedFrom = "io.github.oras-distribution.registry.converted-from"

// EmptyJSON is the blob that stands where an image manifest must have one and
// there is nothing to say (image-spec v1.1, "Guidance for an Empty Descriptor").
const EmptyJSON = "{}"

// empty describes EmptyJSON.
var empty = v1.Descriptor{MediaType: v1.MediaTypeEmptyJSON, Digest: digest.FromString(EmptyJSON), Size: int64(len(EmptyJSON))}

// ToImage converts a manifest of the type to an OCI image manifest (image-spec
// v1.1, "Guidelines for Artifact Usage"): the same artifactType, subject and
// annotations, its references as layers, and the empty config. If subject is not
// nil, it replaces the subject. The original is named by its digest of the algorithm
// that it is stored by. The same arguments give the same bytes, now and in later
// versions: the result is found by its digest.
func (t Type) ToImage(content []byte, subject *v1.Descriptor, algorithm digest.Algorithm) ([]byte, error) {
	doc, err := decode(content)
	if err != nil {
		return nil, err
	}
	m, problems := doc.manifest(t)
	t.checkRepeated(doc, &problems)
	if m.ArtifactType == "" {
		problems.Add("artifactType", "must be a string that is not empty")
	}
	if err := problems.Distinct().Err(); err != nil {
		return nil, err
	}
	image := v1.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    v1.MediaTypeImageManifest,
		ArtifactType: m.ArtifactType,
		Config:       empty,
		Subject:      subject,
		Annotations:  t.converted(m.Annotations, algorithm.FromBytes(content)),
	}
	if image.Layers, err = doc.layers(m); err != nil {
		return nil, err
	}
	if subject == nil && m.Subject != nil {
		kept, err := whole(doc.members["subject"])
		if err != nil {
			return nil, fmt.Errorf("subject: %w", err)
		}
		image.Subject = &kept
	}
	return encode(image)
}

// encode writes JSON without the escapes that only HTML needs.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// ConvertedFrom returns the digest of the original of a conversion, and an empty one
// for other manifests.
func ConvertedFrom(content []byte) digest.Digest {
	if !bytes.Contains(content, []byte(AnnotationConvertedFrom)) {
		return ""
	}
	doc, err := decode(content)
	if err != nil {
		return ""
	}
	from := digest.Digest(doc.texts("annotations", new(Problems))[AnnotationConvertedFrom])
	if from.Validate() != nil {
		return ""
	}
	return from
}

// converted returns the annotations of the conversion of a manifest.
func (t Type) converted(annotations map[string]string, from digest.Digest) map[string]string {
	result := map[string]string{}
	if created, ok := annotations[t.CreatedAnnotation]; ok {
		if _, err := time.Parse(time.RFC3339, created); err == nil {
			result[AnnotationOCICreated] = created
		}
	}
	maps.Copy(result, annotations)
	result[AnnotationConvertedFrom] = from.String()
	return result
}

// layers returns what a manifest references. An image manifest has at least one
// layer.
func (d *document) layers(m *Manifest) ([]v1.Descriptor, error) {
	lists := map[string][]json.RawMessage{}
	layers := make([]v1.Descriptor, 0, max(1, len(m.References)))
	for i, place := range m.places {
		raw := d.members[place.member]
		if place.position >= 0 {
			if lists[place.member] == nil {
				var list []json.RawMessage
				if err := json.Unmarshal(raw, &list); err != nil {
					return nil, fmt.Errorf("%s: %w", place.member, err)
				}
				lists[place.member] = list
			}
			raw = lists[place.member][place.position]
		}
		layer, err := whole(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Field(i), err)
		}
		layers = append(layers, layer)
	}
	if len(layers) == 0 {
		layers = append(layers, empty)
	}
	return layers, nil
}

// descriptorMembers are the members of descriptors that are converted. URLs are not:
// the registry has the content, and refuses images whose layers would be fetched
// from elsewhere.
var descriptorMembers = []string{"mediaType", "digest", "size", "annotations", "artifactType"}

// whole reads a descriptor with its annotations. Members whose names differ in case only
// are not taken for them.
func whole(raw json.RawMessage) (desc v1.Descriptor, err error) {
	doc, err := decode(raw)
	if err != nil {
		return desc, err
	}
	maps.DeleteFunc(doc.members, func(name string, _ json.RawMessage) bool { return !slices.Contains(descriptorMembers, name) })
	exact, err := json.Marshal(doc.members)
	if err != nil {
		return desc, err
	}
	err = json.Unmarshal(exact, &desc)
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		return desc, fmt.Errorf("%s: must not be a %s", wrong.Field, wrong.Value)
	}
	return desc, err
}
