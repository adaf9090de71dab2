package manifest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/internal/manifest"
)

const (
	aDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	orasOK  = `"mediaType":"application/vnd.cncf.oras.artifact.manifest.v1+json"`
)

const (
	orasType = "application/vnd.cncf.oras.artifact.manifest.v1+json"
	ociType  = "application/vnd.oci.artifact.manifest.v1+json"
)

var kind = manifest.Type{
	MediaType:            orasType,
	References:           []string{"blobs[]"},
	MediaTypeOptional:    true,
	ArtifactTypeRequired: true,
	SubjectMustExist:     true,
	CreatedAnnotation:    manifest.AnnotationORASCreated,
}

var types = manifest.NewTypes(kind, manifest.Type{MediaType: ociType, References: []string{"blobs[]"}})

func descriptor(digest string) string {
	return fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":3}`, digest)
}

// Each manifest is refused for exactly the fields that are named.
func TestArtifactProblems(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		fields  []string
	}{
		"complete":             {`{` + orasOK + `,"artifactType":"t","blobs":[` + descriptor(aDigest) + `],"subject":` + descriptor(aDigest) + `,"annotations":{"io.cncf.oras.artifact.created":"2022-01-01T00:00:00Z"}}`, nil},
		"draft.1":              {`{"artifactType":"t"}`, nil},
		"unknown members":      {`{"artifactType":"t","future":{"a":[1]},"Subject":7}`, nil},
		"nulls":                {`{"artifactType":"t","blobs":null,"subject":null,"annotations":null}`, nil},
		"no JSON":              {`{"artifactType":`, []string{""}},
		"no object":            {`["artifactType"]`, []string{""}},
		"two objects":          {`{"artifactType":"t"}{}`, []string{""}},
		"empty":                {``, []string{""}},
		"other mediaType":      {`{"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"t"}`, []string{"mediaType"}},
		"mediaType no string":  {`{"mediaType":1,"artifactType":"t"}`, []string{"mediaType"}},
		"looks like an image":  {`{"schemaVersion":2,"config":{},"layers":[],"artifactType":"t"}`, []string{"schemaVersion", "config", "layers"}},
		"no artifactType":      {`{` + orasOK + `}`, []string{"artifactType"}},
		"empty artifactType":   {`{` + orasOK + `,"artifactType":""}`, []string{"artifactType"}},
		"long artifactType":    {`{` + orasOK + `,"artifactType":"` + strings.Repeat("x", 256) + `"}`, []string{"artifactType"}},
		"wrong case":           {`{` + orasOK + `,"ArtifactType":"t"}`, []string{"artifactType"}},
		"repeated member":      {`{` + orasOK + `,"artifactType":"t","artifactType":"u"}`, []string{"artifactType"}},
		"repeated subject":     {`{"artifactType":"t","subject":null,"subject":null}`, []string{"subject"}},
		"blobs no list":        {`{"artifactType":"t","blobs":{}}`, []string{"blobs"}},
		"blob no object":       {`{"artifactType":"t","blobs":[3]}`, []string{"blobs[0]"}},
		"bad digest":           {`{"artifactType":"t","blobs":[` + descriptor(aDigest) + `,` + descriptor("sha256:aa") + `]}`, []string{"blobs[1].digest"}},
		"digest that climbs":   {`{"artifactType":"t","subject":` + descriptor("sha256:../../../../etc/passwd") + `}`, []string{"subject.digest"}},
		"negative size":        {`{"artifactType":"t","subject":{"mediaType":"a/b","digest":"` + aDigest + `","size":-1}}`, []string{"subject.size"}},
		"fractional size":      {`{"artifactType":"t","subject":{"mediaType":"a/b","digest":"` + aDigest + `","size":1.5}}`, []string{"subject.size"}},
		"empty descriptor":     {`{"artifactType":"t","subject":{}}`, []string{"subject.mediaType", "subject.digest", "subject.size"}},
		"annotations no map":   {`{"artifactType":"t","annotations":[]}`, []string{"annotations"}},
		"annotation no string": {`{"artifactType":"t","annotations":{"a":1}}`, []string{`annotations["a"]`}},
		"annotation null":      {`{"artifactType":"t","annotations":{"a":null}}`, []string{`annotations["a"]`}},
		"bad created":          {`{"artifactType":"t","annotations":{"io.cncf.oras.artifact.created":"yesterday"}}`, []string{"annotations[io.cncf.oras.artifact.created]"}},
		"all at once":          {`{"mediaType":"x","blobs":[1],"subject":2,"annotations":3}`, []string{"mediaType", "artifactType", "blobs[0]", "subject", "annotations"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := kind.Parse([]byte(test.content))
			var got []string
			for _, p := range problems.Distinct() {
				got = append(got, p.Field)
			}
			slices.Sort(got)
			slices.Sort(test.fields)
			if !slices.Equal(got, test.fields) {
				t.Errorf("problems %v, want fields %q", problems, test.fields)
			}
		})
	}
}

// A type whose bodies must say what they are refuses one that does not.
func TestMediaTypeRequired(t *testing.T) {
	strict := manifest.Type{MediaType: ociType}
	if _, problems := strict.Parse([]byte(`{"artifactType":"t"}`)); len(problems) != 1 || problems[0].Field != "mediaType" {
		t.Errorf("problems %v, want mediaType alone", problems)
	}
}

func TestParseSubject(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		subject string
		fields  []string
	}{
		"none":         {`{"schemaVersion":2}`, "", nil},
		"null":         {`{"subject":null}`, "", nil},
		"good":         {`{"subject":` + descriptor(aDigest) + `}`, aDigest, nil},
		"escaped name": {`{"\u0073ubject":` + descriptor(aDigest) + `}`, aDigest, nil},
		"other case":   {`{"Subject":` + descriptor(aDigest) + `}`, "", nil},
		"nested":       {`{"config":{"subject":` + descriptor(aDigest) + `}}`, "", nil},
		"twice":        {`{"subject":` + descriptor(aDigest) + `,"subject":null}`, "", []string{"subject"}},
		"no digest":    {`{"subject":{"mediaType":"a/b","size":1}}`, "", []string{"subject.digest"}},
		"text":         {`{"subject":"` + aDigest + `"}`, "", []string{"subject"}},
	} {
		t.Run(name, func(t *testing.T) {
			subject, problems := manifest.ParseSubject([]byte(test.content))
			got := ""
			if subject != nil {
				got = subject.Digest.String()
			}
			if got != test.subject || len(problems) != len(test.fields) {
				t.Fatalf("subject %q, problems %v; want %q, %q", got, problems, test.subject, test.fields)
			}
			for i, field := range test.fields {
				if problems[i].Field != field {
					t.Errorf("problem %v, want field %q", problems[i], field)
				}
			}
		})
	}
}

// What OCI 1.1 lists as a manifest's type.
func TestArtifactTypeOfStoredManifests(t *testing.T) {
	for name, test := range map[string]struct{ content, mediaType, artifactType string }{
		"image without type":  {`{"schemaVersion":2,"config":` + descriptor(aDigest) + `,"layers":[]}`, "application/vnd.oci.image.manifest.v1+json", "a/b"},
		"image with type":     {`{"schemaVersion":2,"artifactType":"t","config":` + descriptor(aDigest) + `}`, "application/vnd.oci.image.manifest.v1+json", "t"},
		"index without type":  {`{"schemaVersion":2,"manifests":[]}`, "application/vnd.oci.image.index.v1+json", ""},
		"artifact of draft.1": {`{"artifactType":"t"}`, orasType, "t"},
		"OCI artifact":        {`{"mediaType":"` + ociType + `","artifactType":"t"}`, ociType, "t"},
		"Docker image":        {`{"schemaVersion":2,"mediaType":"` + manifest.MediaTypeDockerManifest + `","config":` + descriptor(aDigest) + `}`, manifest.MediaTypeDockerManifest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := types.Parse([]byte(test.content))
			if err != nil {
				t.Fatal(err)
			}
			if m.MediaType != test.mediaType || m.ArtifactType != test.artifactType {
				t.Errorf("%q, %q; want %q, %q", m.MediaType, m.ArtifactType, test.mediaType, test.artifactType)
			}
		})
	}
}

// Whatever is pushed, decoding ends without a panic, and what is accepted is read
// back the same from the storage.
func FuzzArtifact(f *testing.F) {
	f.Add([]byte(`{` + orasOK + `,"artifactType":"t","blobs":[` + descriptor(aDigest) + `],"subject":` + descriptor(aDigest) + `}`))
	f.Add([]byte(`{"artifactType":"t","artifactType":"u"}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{}],"subject":{"digest":"sha512:00"}}`))
	f.Add([]byte(`{"annotations":{"io.cncf.oras.artifact.created":"x","a":null}}`))
	f.Add([]byte(strings.Repeat(`{"subject":`, 200)))
	f.Fuzz(func(t *testing.T, content []byte) {
		accepted, problems := kind.Parse(content)
		stored, err := types.Parse(content)
		_, _ = manifest.ParseSubject(content)
		if len(problems) > 0 {
			return
		}
		if err != nil {
			t.Fatalf("accepted, but cannot be read back: %v", err)
		}
		if stored.MediaType != kind.MediaType || stored.ArtifactType != accepted.ArtifactType {
			t.Fatalf("accepted as %q %q, read back as %q %q", kind.MediaType, accepted.ArtifactType, stored.MediaType, stored.ArtifactType)
		}
		if (stored.Subject == nil) != (accepted.Subject == nil) || len(stored.References) != len(accepted.References) {
			t.Fatalf("accepted %+v, read back %+v", accepted, stored)
		}
	})
}
