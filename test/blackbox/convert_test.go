package blackbox_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// conversions is the output of `registry referrers convert --format json`.
type conversions struct {
	Converted, Unchanged, Skipped, Failed int

	Manifests []struct {
		Digest, Image digest.Digest
		Reason        string
	}
}

// convert runs the command and returns the digests of the conversions by those of the
// originals.
func convert(t *testing.T, r *harness.Registry) (conversions, map[digest.Digest]digest.Digest) {
	t.Helper()
	result := harness.Run(t, "referrers", "convert", "--format", "json", r.Config)
	var c conversions
	if err := json.Unmarshal([]byte(result.Stdout), &c); err != nil || result.Exit != 0 {
		t.Fatalf("exit code %d, %v\n%s%s", result.Exit, err, result.Stdout, result.Stderr)
	}
	images := map[digest.Digest]digest.Digest{}
	for _, m := range c.Manifests {
		images[m.Digest] = m.Image
	}
	return c, images
}

// TestConvertWhateverWasPushed pushes random ORAS artifacts and converts them while the
// registry is serving. Each conversion says what the original says, is accepted when it
// is pushed, and is listed where the original is.
func TestConvertWhateverWasPushed(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(SeedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", SeedVariable, seed)
	registry := harness.Start(t, harness.Options{})
	c := registry.Client()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), subjects: []harness.Descriptor{c.PushImage("app", "v1", "layer")}}
	for i := range 5 {
		g.blobs = append(g.blobs, c.PushBlob("app", []byte(g.text())), c.PushBlobAs("app", fmt.Appendf(nil, "blob %d", i), digest.SHA512))
	}
	long := harness.Manifest{ContentType: harness.MediaTypeOCIImage, Raw: c.GetManifest("app", "v1").Body}.By(digest.SHA512)
	g.blobs = append(g.blobs, g.subjects[0], c.MustPush("app", "", long)) // manifests
	pushed := map[digest.Digest]harness.Manifest{}
	for range 150 {
		m := g.artifact()
		if g.IntN(3) == 0 {
			m = m.By(digest.SHA512)
		}
		answer := c.Push("app", "", m)
		if answer.Status != http.StatusCreated {
			t.Fatalf("the generator makes manifests that are refused: %s\n%s", m.Bytes(), answer)
		}
		pushed[m.Digest()] = m
		g.subjects = append(g.subjects, m.Descriptor())
	}
	result, images := convert(t, registry)
	if result.Converted != len(pushed) || result.Failed+result.Skipped > 0 {
		t.Errorf("%d artifacts were pushed: %+v", len(pushed), result)
	}
	listed := map[digest.Digest]bool{}
	for _, subject := range append([]digest.Digest{g.subjects[0].Digest}, mapped(images)...) {
		for _, entry := range c.Referrers(harness.OCI, "app", subject) {
			listed[entry.Digest] = true
		}
	}
	for d, m := range pushed {
		image := images[d]
		stored := c.GetManifest("app", image.String()).Expect(http.StatusOK).ExpectHeader("Content-Type", harness.MediaTypeOCIImage)
		expectConversion(t, m, stored, images)
		c.PutManifest("app", image.String(), harness.MediaTypeOCIImage, stored.Body).Expect(http.StatusCreated)
		if !listed[image] && m.Subject != nil {
			t.Errorf("%s is not listed, which was converted from %s", image, m.Bytes())
		}
	}
	if again, _ := convert(t, registry); again.Unchanged != len(pushed) || again.Converted > 0 {
		t.Errorf("again: %+v", again)
	}
}

func mapped(images map[digest.Digest]digest.Digest) (list []digest.Digest) {
	for _, image := range images {
		list = append(list, image)
	}
	return list
}

// expectConversion expects a stored manifest to say what an artifact says.
func expectConversion(t *testing.T, original harness.Manifest, stored *harness.Response, images map[digest.Digest]digest.Digest) {
	t.Helper()
	var m harness.Manifest
	stored.JSON(&m)
	annotations := maps.Clone(m.Annotations)
	for name, value := range original.Annotations {
		if annotations[name] != value {
			t.Errorf("annotation %q is %q, not %q", name, annotations[name], value)
		}
	}
	if from := annotations["io.github.oras-distribution.registry.converted-from"]; from != original.Digest().String() {
		t.Errorf("converted from %q, not %s", from, original.Digest())
	}
	if created := original.Annotations[harness.ORASCreated]; annotations[harness.OCICreated] != created {
		t.Errorf("created %q, not %q", annotations[harness.OCICreated], created)
	}
	if m.ArtifactType != original.ArtifactType || m.Config == nil || m.Config.MediaType != "application/vnd.oci.empty.v1+json" || m.Layers == nil {
		t.Fatalf("not a conversion of %s: %s", original.Bytes(), stored)
	}
	blobs := slices.Clone(original.Blobs)
	for i := range blobs {
		blobs[i].URLs = nil // the registry has the content
	}
	switch layers := *m.Layers; {
	case len(original.Blobs) == 0:
		if len(layers) != 1 || layers[0].Digest != m.Config.Digest {
			t.Errorf("the layers are %+v, not the empty one", layers)
		}
	case fmt.Sprint(layers) != fmt.Sprint(blobs):
		t.Errorf("the layers are %+v, not %+v", layers, blobs)
	}
	switch {
	case original.Subject == nil:
		if m.Subject != nil {
			t.Errorf("there is a subject: %s", stored)
		}
	case images[original.Subject.Digest] != "":
		if m.Subject == nil || m.Subject.Digest != images[original.Subject.Digest] || m.Subject.MediaType != harness.MediaTypeOCIImage {
			t.Errorf("the subject %+v is not the conversion of %s", m.Subject, original.Subject.Digest)
		}
	case m.Subject == nil || fmt.Sprint(*m.Subject) != fmt.Sprint(*original.Subject):
		t.Errorf("the subject is %+v, not %+v", m.Subject, original.Subject)
	}
}

// generator makes random ORAS artifacts.
type generator struct {
	*rand.Rand

	blobs, subjects []harness.Descriptor
}

func (g *generator) artifact() harness.Manifest {
	m := harness.ORASArtifact("type/" + g.text())
	for range g.IntN(4) * g.IntN(3) {
		blob := g.blobs[g.IntN(len(g.blobs))]
		if g.IntN(3) == 0 {
			blob.Annotations = map[string]string{g.text(): g.text(), "org.opencontainers.image.title": g.text()}
		}
		if g.IntN(5) == 0 {
			blob.URLs = []string{"https://example.com/" + g.text()}
		}
		if g.IntN(5) == 0 && blob.MediaType == "application/octet-stream" {
			blob.MediaType = []string{harness.MediaTypeOCILayer, harness.MediaTypeDockerLayer, "text/" + g.text(), "application/vnd.oci.empty.v1+json"}[g.IntN(4)]
		}
		m.Blobs = append(m.Blobs, blob)
	}
	if g.IntN(10) > 0 {
		m = m.To(g.subjects[g.IntN(len(g.subjects))])
	}
	for range g.IntN(4) {
		m = m.Annotated("a."+g.text(), g.text())
	}
	if g.IntN(2) == 0 {
		m = m.Annotated(harness.ORASCreated, fmt.Sprintf("2022-01-01T00:%02d:%02dZ", g.IntN(60), g.IntN(60)))
	}
	if g.IntN(4) == 0 {
		m.MediaType = ""
	}
	m = m.Annotated("number", fmt.Sprint(len(g.subjects)))
	if g.IntN(3) == 0 { // the bytes of another program, with members that mean nothing here
		raw := string(m.Bytes())
		m.Raw = []byte("{\n\t\"future\": {\"a\": [1, null]}, \"ArtifactType\": \"other\",\n" + raw[1:])
	}
	return m
}

// text is a short text, never empty, of characters that need care in JSON, URLs or HTML.
func (g *generator) text() string {
	const characters = "abcABC019 .,-_+/\\\"'<>&%#?{}[]äß€\u2028\u0001\x7f🙂"
	runes := []rune(characters)
	text := make([]rune, 1+g.IntN(12))
	for i := range text {
		text[i] = runes[g.IntN(len(runes))]
	}
	return string(text)
}
