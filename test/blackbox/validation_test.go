package blackbox_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

const badDigest = "sha256:0123"

// refusal is a manifest that the registry must refuse.
type refusal struct {
	name     string
	manifest harness.Manifest
	code     string
	fields   []string // that the answer must name, sorted
}

// raw is a manifest of literal text.
func raw(contentType, text string) harness.Manifest {
	return harness.Manifest{ContentType: contentType, Raw: []byte(text)}
}

// refusals are pushed to a repository that has the image and the blob.
func refusals(image, blob harness.Descriptor) []refusal {
	const invalid, unknown = "MANIFEST_INVALID", "MANIFEST_BLOB_UNKNOWN"
	oras := func(change func(*harness.Manifest)) harness.Manifest {
		m := harness.ORASArtifact("sbom/example", blob).To(image)
		change(&m)
		return m
	}
	changed := func(d harness.Descriptor, change func(*harness.Descriptor)) harness.Descriptor {
		change(&d)
		return d
	}
	missing := harness.BlobDescriptor([]byte("not pushed"))
	larger := changed(blob, func(d *harness.Descriptor) { d.Size++ })
	broken := changed(blob, func(d *harness.Descriptor) { d.Digest = badDigest })
	untyped := changed(blob, func(d *harness.Descriptor) { d.MediaType = "" })
	return []refusal{
		{"no artifactType", oras(func(m *harness.Manifest) { m.ArtifactType = "" }), invalid, []string{"artifactType"}},
		{"empty artifactType", raw(harness.MediaTypeORASArtifact,
			`{"mediaType":"`+harness.MediaTypeORASArtifact+`","artifactType":""}`), invalid, []string{"artifactType"}},
		{"artifactType is no string", raw(harness.MediaTypeORASArtifact,
			`{"mediaType":"`+harness.MediaTypeORASArtifact+`","artifactType":7}`), invalid, []string{"artifactType"}},
		{"artifactType of 256 bytes", oras(func(m *harness.Manifest) { m.ArtifactType = strings.Repeat("x", 256) }), invalid, []string{"artifactType"}},
		{"mediaType of another kind", oras(func(m *harness.Manifest) { m.MediaType = harness.MediaTypeOCIImage }), invalid, []string{"mediaType"}},
		{"mediaType of no kind", oras(func(m *harness.Manifest) { m.MediaType = "text/plain" }), invalid, []string{"mediaType"}},
		{"blob not there", oras(func(m *harness.Manifest) { m.Blobs = []harness.Descriptor{blob, missing} }), unknown, []string{"blobs[1]"}},
		{"blob of another size", oras(func(m *harness.Manifest) { m.Blobs[0] = larger }), invalid, []string{"blobs[0].size"}},
		{"blob without digest", oras(func(m *harness.Manifest) { m.Blobs[0] = broken }), invalid, []string{"blobs[0].digest"}},
		{"blob without mediaType", oras(func(m *harness.Manifest) { m.Blobs[0] = untyped }), invalid, []string{"blobs[0].mediaType"}},
		{"blobs is no list", raw(harness.MediaTypeORASArtifact,
			`{"mediaType":"`+harness.MediaTypeORASArtifact+`","artifactType":"a/b","blobs":{}}`), invalid, []string{"blobs"}},
		{"blob without size", raw(harness.MediaTypeORASArtifact, `{"mediaType":"`+harness.MediaTypeORASArtifact+
			`","artifactType":"a/b","blobs":[{"mediaType":"a/b","digest":"`+blob.Digest.String()+`"}]}`), invalid, []string{"blobs[0].size"}},
		{"subject not there", oras(func(m *harness.Manifest) { m.Subject.Digest = missing.Digest }), invalid, []string{"subject"}},
		{"subject is a blob", oras(func(m *harness.Manifest) { m.Subject.Digest = blob.Digest }), invalid, []string{"subject"}},
		{"subject without digest", oras(func(m *harness.Manifest) { m.Subject.Digest = badDigest }), invalid, []string{"subject.digest"}},
		{"subject is no object", raw(harness.MediaTypeORASArtifact, `{"mediaType":"`+harness.MediaTypeORASArtifact+
			`","artifactType":"a/b","subject":"`+image.Digest.String()+`"}`), invalid, []string{"subject"}},
		{"created is no time", oras(func(m *harness.Manifest) {
			m.Annotations = map[string]string{harness.ORASCreated: "yesterday"}
		}), invalid, []string{"annotations[" + harness.ORASCreated + "]"}},
		{"annotation is no string", raw(harness.MediaTypeORASArtifact, `{"mediaType":"`+harness.MediaTypeORASArtifact+
			`","artifactType":"a/b","annotations":{"a":1}}`), invalid, []string{`annotations["a"]`}},
		{"everything at once", oras(func(m *harness.Manifest) {
			m.MediaType, m.ArtifactType = harness.MediaTypeOCIIndex, ""
			m.Blobs = []harness.Descriptor{larger, missing, broken, untyped}
			m.Subject.Digest = missing.Digest
			m.Annotations = map[string]string{harness.ORASCreated: "2022-13-01"}
		}), invalid, []string{
			"annotations[" + harness.ORASCreated + "]", "artifactType", "blobs[0].size", "blobs[1]",
			"blobs[2].digest", "blobs[3].mediaType", "mediaType", "subject",
		}},
		{"not JSON", raw(harness.MediaTypeORASArtifact, `{"artifactType":`), invalid, []string{""}},
		{"empty body", raw(harness.MediaTypeORASArtifact, ``), invalid, []string{""}},
		{"not an object", raw(harness.MediaTypeORASArtifact, `["artifactType"]`), invalid, []string{""}},
		{"two objects", raw(harness.MediaTypeORASArtifact, `{"artifactType":"a/b"}{"artifactType":"a/b"}`), invalid, []string{""}},
		{"a member twice", raw(harness.MediaTypeORASArtifact,
			`{"mediaType":"`+harness.MediaTypeORASArtifact+`","artifactType":"a/b","artifactType":"c/d"}`), invalid, []string{"artifactType"}},
		{"without mediaType, looks like an image", raw(harness.MediaTypeORASArtifact,
			`{"artifactType":"a/b","config":{}}`), invalid, []string{"config"}},
		{"without mediaType, looks like an index", raw(harness.MediaTypeORASArtifact,
			`{"schemaVersion":2,"artifactType":"a/b","manifests":[]}`), invalid, []string{"manifests", "schemaVersion"}},
		{"OCI artifact without mediaType", raw(harness.MediaTypeOCIArtifact, `{"artifactType":"a/b"}`), invalid, []string{"mediaType"}},
		{"OCI artifact without blob", harness.OCIArtifact("a/b", missing).To(image), unknown, []string{"blobs[0]"}},
		{"OCI artifact, subject is no descriptor", raw(harness.MediaTypeOCIArtifact, `{"mediaType":"`+harness.MediaTypeOCIArtifact+
			`","artifactType":"a/b","subject":{"mediaType":"a/b","size":2}}`), invalid, []string{"subject.digest"}},
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		blob := c.PushBlob("app", []byte("a signature"))
		for _, test := range refusals(image, blob) {
			t.Run(test.name, func(t *testing.T) {
				c := c.For(t)
				for _, reference := range []string{"", "bad"} {
					resp := c.Push("app", reference, test.manifest).ExpectError(http.StatusBadRequest, test.code)
					if len(resp.Errors()) != 1 {
						t.Errorf("one manifest, more than one error: %s", resp)
					}
					expectFields(t, resp, test.fields)
				}
				expectGone(t, c, "app", test.manifest)
			})
		}
		if tags := c.Tags("app"); !slices.Equal(tags, []string{"v1"}) {
			t.Errorf("a refused manifest was tagged: %v", tags)
		}
	})
}

// expectFields expects a refusal to name exactly these fields, each with a reason.
func expectFields(t *testing.T, resp *harness.Response, fields []string) {
	t.Helper()
	var got []string
	for _, problem := range resp.Problems() {
		got = append(got, problem.Field)
		if problem.Reason == "" {
			t.Errorf("%s has no reason: %s", problem.Field, resp)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, fields) {
		t.Errorf("the fields %q are named, not %q: %s", got, fields, resp)
	}
}

// If Content-Type and body disagree, one kind of manifest is taken for another.
func TestContentTypeAndBodyMustAgree(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		_, kinds := everyKind(c, "app")
		types := []string{
			harness.MediaTypeORASArtifact, harness.MediaTypeOCIArtifact, harness.MediaTypeOCIImage,
			harness.MediaTypeOCIIndex, harness.MediaTypeDockerManifest, harness.MediaTypeDockerList,
		}
		for _, kind := range kinds {
			for _, contentType := range types {
				m := kind.manifest
				if contentType == m.ContentType {
					continue
				}
				m.ContentType = contentType
				// Distribution answers 500 if one of its own kinds has no schemaVersion.
				upstream := !strings.Contains(contentType, "artifact") && kind.manifest.MediaType == ""
				if resp := c.Push("app", "", m); resp.Status != http.StatusBadRequest && (!upstream || resp.Status < 400) {
					t.Errorf("%s as %s: %s", kind.name, contentType, resp)
				}
				expectGone(t, c, "app", m)
			}
		}
	})
}

func TestDigestInPathMustBeThatOfTheBody(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		m := harness.ORASArtifact("sbom/example").To(image)
		other := m.Annotated("other", "yes").Digest().String()
		c.Push("app", other, m).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		c.Push("app", badDigest, m).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		c.GetManifest("app", other).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		expectGone(t, c, "app", m)
	})
}

// A manifest that is fixed after a refusal is accepted.
func TestRefusedManifestIsTakenOnceItsPartsAreThere(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		subject := harness.ORASArtifact("sbom/example")
		content := []byte("a late blob")
		m := harness.ORASArtifact("signature/example", harness.BlobDescriptor(content)).To(subject.Descriptor())
		resp := c.Push("app", "", m).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
		expectFields(t, resp, []string{"blobs[0]", "subject"})
		c.MustPush("app", "", subject)
		resp = c.Push("app", "", m).ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
		expectFields(t, resp, []string{"blobs[0]"})
		c.PushBlob("app", content)
		c.MustPush("app", "", m)
		sameDigests(t, "referrers", c.Referrers(harness.Draft1, "app", subject.Digest()), m.Digest())
	})
}

func TestArtifactTypeOf255BytesIsTaken(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		m := harness.ORASArtifact(strings.Repeat("x", 255)).To(image).
			Annotated(harness.ORASCreated, "2022-04-20T17:23:51.5+02:00")
		c.MustPush("app", "", m)
		equal(t, "listing", c.Referrers(harness.RC, "app", image.Digest), []harness.Descriptor{m.Listed()})
	})
}

// A blob of another repository does not exist in this one.
func TestBlobOfAnotherRepositoryIsRefused(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		blob := c.PushBlob("other", []byte("a signature"))
		c.PushImage("app", "v1", "layer")
		m := harness.ORASArtifact("signature/example", blob)
		expectFields(t, c.Push("app", "", m).ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"), []string{"blobs[0]"})
		c.Send(http.MethodPost, "/v2/app/blobs/uploads/?mount="+blob.Digest.String()+"&from=other", nil).Expect(http.StatusCreated)
		c.MustPush("app", "", m)
	})
}
