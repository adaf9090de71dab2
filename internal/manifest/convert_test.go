package manifest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/manifest"
)

const bDigest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

// An SBOM as old clients attached it becomes an image manifest. These bytes must
// never change, because the conversions that were made are found by their digests.
func ExampleType_ToImage() {
	artifact := manifest.Type{
		MediaType:         "application/vnd.cncf.oras.artifact.manifest.v1+json",
		References:        []string{"blobs[]"},
		CreatedAnnotation: manifest.AnnotationORASCreated,
	}
	image, err := artifact.ToImage([]byte(`{
		"mediaType": "application/vnd.cncf.oras.artifact.manifest.v1+json",
		"artifactType": "sbom/example",
		"blobs": [{"mediaType": "application/json", "digest": "`+aDigest+`", "size": 10, "annotations": {"org.opencontainers.image.title": "sbom.json"}}],
		"subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "`+bDigest+`", "size": 400},
		"annotations": {"io.cncf.oras.artifact.created": "2022-07-01T12:00:00Z"}
	}`), nil, digest.SHA256)
	fmt.Println(strings.ReplaceAll(string(image), `,"`, ",\n\""), err)
	fmt.Println(digest.FromBytes(image))

	// Output:
	// {"schemaVersion":2,
	// "mediaType":"application/vnd.oci.image.manifest.v1+json",
	// "artifactType":"sbom/example",
	// "config":{"mediaType":"application/vnd.oci.empty.v1+json",
	// "digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
	// "size":2},
	// "layers":[{"mediaType":"application/json",
	// "digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	// "size":10,
	// "annotations":{"org.opencontainers.image.title":"sbom.json"}}],
	// "subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json",
	// "digest":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
	// "size":400},
	// "annotations":{"io.cncf.oras.artifact.created":"2022-07-01T12:00:00Z",
	// "io.github.oras-distribution.registry.converted-from":"sha256:8cbde52e815bb4086948db58dd90da299b74c92ed784f39393a473fe07594741",
	// "org.opencontainers.image.created":"2022-07-01T12:00:00Z"}} <nil>
	// sha256:9e28d70d89a02dd0081ff19b681ce77c545ec32030deb8fccb1cbeff0982ee7d
}

func TestToImage(t *testing.T) {
	const image = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + bDigest + `","size":7}`
	for name, test := range map[string]struct {
		content string
		subject *v1.Descriptor
		want    map[string]string // members of the result, as JSON
	}{
		"no blobs and no subject": {
			`{"artifactType":"t","future":1}`, nil,
			map[string]string{"layers": `[{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digest.FromString("{}").String() + `","size":2}]`, "subject": ""},
		},
		"the subject": {`{"artifactType":"t","subject":` + image + `}`, nil, map[string]string{"subject": image}},
		"another subject": {
			`{"artifactType":"t","subject":` + descriptor(aDigest) + `}`,
			&v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: bDigest, Size: 7},
			map[string]string{"subject": image},
		},
		"members of descriptors": {
			`{"artifactType":"t","blobs":[{"Digest":"` + bDigest + `","digest":"` + aDigest + `","size":1,"mediaType":"a/b","urls":["u"],"data":7,"annotations":{"k":"<v>"},"x":1}]}`,
			nil,
			map[string]string{"layers": `[{"mediaType":"a/b","digest":"` + aDigest + `","size":1,"annotations":{"k":"<v>"}}]`},
		},
		"no valid date": {
			`{"artifactType":"t","annotations":{"io.cncf.oras.artifact.created":"yesterday"}}`, nil,
			map[string]string{"annotations": `{"io.cncf.oras.artifact.created":"yesterday","` + manifest.AnnotationConvertedFrom + `":"FROM"}`},
		},
		"two dates": {
			`{"artifactType":"t","annotations":{"io.cncf.oras.artifact.created":"2022-01-01T00:00:00Z","org.opencontainers.image.created":"2021-01-01T00:00:00Z"}}`, nil,
			map[string]string{"annotations": `{"io.cncf.oras.artifact.created":"2022-01-01T00:00:00Z","` + manifest.AnnotationConvertedFrom + `":"FROM","org.opencontainers.image.created":"2021-01-01T00:00:00Z"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			converted, err := kind.ToImage([]byte(test.content), test.subject, digest.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			var members map[string]json.RawMessage
			if err := json.Unmarshal(converted, &members); err != nil {
				t.Fatal(err)
			}
			for member, want := range test.want {
				if want = strings.Replace(want, "FROM", digest.FromString(test.content).String(), 1); string(members[member]) != want {
					t.Errorf("%s is %s, want %s", member, members[member], want)
				}
			}
		})
	}
}

// A manifest of which two programs could read different things is not converted.
func TestToImageRefuses(t *testing.T) {
	for content, want := range map[string]string{
		`[]`:                              "not a JSON object",
		`{}`:                              "artifactType: must be",
		`{"artifactType":"t","blobs":{}}`: "blobs: must be a list",
		`{"artifactType":"t","blobs":[{"mediaType":"a/b","digest":"sha256:aa","size":1}]}`:                        "blobs[0].digest",
		`{"artifactType":"t","blobs":[],"blobs":[` + descriptor(aDigest) + `]}`:                                   "blobs: stands more than once",
		`{"artifactType":"t","blobs":[{"mediaType":"a/b","digest":"` + aDigest + `","size":1,"artifactType":7}]}`: "blobs[0].artifactType: must be a string",
		`{"artifactType":"t","annotations":{"a":1}}`:                                                              `annotations["a"]: must be a string`,
	} {
		if converted, err := kind.ToImage([]byte(content), nil, digest.SHA256); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q\n%s", content, err, want, converted)
		}
	}
}

// What can be pushed can be converted, and nothing that it refers to is lost.
func FuzzToImage(f *testing.F) {
	f.Add([]byte(`{`+orasOK+`,"artifactType":"t","blobs":[`+descriptor(aDigest)+`],"subject":`+descriptor(bDigest)+`}`), "")
	f.Add([]byte(`{"artifactType":"t","blobs":[{"mediaType":"m","digest":"`+aDigest+`","Digest":"`+bDigest+`","size":1e0}]}`), bDigest)
	f.Add([]byte(`{"artifactType":"t","annotations":{"`+manifest.AnnotationConvertedFrom+`":"x","io.cncf.oras.artifact.created":"2022-01-01T00:00:00Z"}}`), "")
	f.Fuzz(func(t *testing.T, content []byte, to string) {
		var subject *v1.Descriptor
		if digest.Digest(to).Validate() == nil {
			subject = &v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.Digest(to), Size: 1}
		}
		original, problems := kind.Parse(content)
		converted, err := kind.ToImage(content, subject, digest.SHA256)
		if err != nil && len(problems) == 0 && !strings.Contains(err.Error(), "must not be a") {
			t.Fatalf("accepted, but cannot be converted: %v", err)
		}
		if err != nil {
			return
		}
		if again, err := kind.ToImage(content, subject, digest.SHA256); err != nil || string(again) != string(converted) {
			t.Fatalf("converted to\n%s\nand to\n%s\n%v", converted, again, err)
		}
		image, err := types.Parse(converted)
		if err != nil || image.MediaType != v1.MediaTypeImageManifest || image.ArtifactType != original.ArtifactType {
			t.Fatalf("%v: %+v", err, image)
		}
		if subject == nil {
			subject = original.Subject
		}
		if (image.Subject == nil) != (subject == nil) || subject != nil && image.Subject.Digest != subject.Digest {
			t.Errorf("the subject is %v, want %v", image.Subject, subject)
		}
		layers := image.References[1:] // without the config
		if len(layers) == 0 {
			t.Error("no layers")
		}
		for i, reference := range original.References {
			if layers[i].Digest != reference.Digest || layers[i].Size != reference.Size || layers[i].MediaType != reference.MediaType {
				t.Errorf("layer %d is %v, want %v", i, layers[i], reference)
			}
		}
		for name, value := range original.Annotations {
			if name != manifest.AnnotationConvertedFrom && image.Annotations[name] != value {
				t.Errorf("annotation %q is %q, want %q", name, image.Annotations[name], value)
			}
		}
		if from := image.Annotations[manifest.AnnotationConvertedFrom]; from != digest.FromBytes(content).String() {
			t.Errorf("converted from %q", from)
		}
	})
}
