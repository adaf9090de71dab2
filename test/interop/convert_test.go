//go:build e2e

package interop_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// conversion is the output of `registry referrers convert --format json`.
type conversion struct {
	Converted, Unchanged, Skipped, Failed int

	Manifests []struct{ Digest, Image digest.Digest }
}

func (w *workspace) convert(args ...string) conversion {
	w.t.Helper()
	result := harness.Run(w.t, append([]string{"referrers", "convert", "--format", "json", w.Config}, args...)...)
	var c conversion
	if err := json.Unmarshal([]byte(result.Stdout), &c); err != nil || result.Exit != 0 {
		w.t.Fatalf("exit code %d, %v\n%s%s", result.Exit, err, result.Stdout, result.Stderr)
	}
	return c
}

// of is the digest that a manifest was converted to.
func (c conversion) of(d harness.Descriptor) digest.Digest {
	for _, m := range c.Manifests {
		if m.Digest == d.Digest {
			return m.Image
		}
	}
	return ""
}

// TestConvert attaches artifacts to an image as clients of the ORAS artifacts
// specification did, converts them beside two serving registries, and finds, copies and
// pulls them with the clients of today.
func TestConvert(t *testing.T) {
	t.Parallel()
	byDefault := harness.Configf("extensions: {oci: null}")
	w := newWorkspace(t, harness.Options{Config: byDefault})
	w.regctlSetup()
	replica := harness.Start(t, harness.Options{Config: byDefault, Root: w.Root, Driver: harness.SharedDriver()})
	client := w.Client()
	image := harness.Descriptor{MediaType: harness.MediaTypeOCIImage, Digest: w.image("app:v1")}
	image.Size = int64(len(client.GetManifest("app", "v1").Body))
	blob := client.PushBlob("app", []byte(w.read("sbom.json")))
	blob.MediaType, blob.Annotations = "application/json", map[string]string{"org.opencontainers.image.title": "sbom.json"}
	sbom := client.MustPush("app", "sbom-v1", harness.ORASArtifact("application/vnd.example.sbom", blob).To(image).
		Annotated(harness.ORASCreated, "2022-07-01T12:00:00Z").Annotated("org.example.tool", "scanner"))
	draft := harness.ORASArtifact("application/vnd.example.note").To(image)
	draft.MediaType = "" // as in draft.1
	note := client.MustPush("app", "", draft)
	signature := client.MustPush("app", "", harness.ORASArtifact("application/vnd.example.signature", client.PushBlob("app", []byte("signed"))).To(sbom))
	originals := []digest.Digest{sbom.Digest, note.Digest}
	expectSame(t, "what the registry lists before", harness.Digests(replica.Client().Referrers(harness.OCI, "app", image.Digest)))
	expectSame(t, "what oras discovers before", w.orasDiscover("app:v1").all())

	c := w.convert()
	if c.Converted != 3 {
		t.Fatalf("three artifacts were attached, these were converted: %+v", c)
	}
	direct, all := []digest.Digest{c.of(sbom), c.of(note)}, []digest.Digest{c.of(sbom), c.of(note), c.of(signature)}
	for _, client := range []*harness.Client{client, replica.Client()} {
		expectSame(t, "what a serving registry lists", harness.Digests(client.Referrers(harness.OCI, "app", image.Digest)), direct...)
		expectSame(t, "what it lists for old clients", harness.Digests(client.Referrers(harness.RC, "app", image.Digest)), originals...)
		client.GetManifest("app", "sbom-v1").Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", sbom.Digest.String())
	}
	expectAll := func() {
		t.Helper()
		tree := w.orasDiscover("app:v1")
		expectSame(t, "what oras discovers", tree.all(), all...)
		at := slices.IndexFunc(tree.Referrers, func(n orasNode) bool { return n.Digest == c.of(sbom) })
		if at < 0 || tree.Referrers[at].ArtifactType != "application/vnd.example.sbom" || tree.Referrers[at].Annotations["org.example.tool"] != "scanner" ||
			tree.Referrers[at].Annotations[harness.OCICreated] != "2022-07-01T12:00:00Z" {
			t.Errorf("oras discovers the SBOM as %+v", tree.Referrers)
		}
		w.run("oras", "pull", "--plain-http", "-o", "pulled", w.ref("app@"+c.of(sbom).String()))
		if got := w.read("pulled/sbom.json"); got != w.read("sbom.json") {
			t.Errorf("oras pulled %q", got)
		}
		for _, d := range all {
			w.run("oras", "pull", "--plain-http", "-o", "pulled", w.ref("app@"+d.String()))
		}
		expectContains(t, "the tree that regctl prints", w.run("regctl", "artifact", "tree", w.ref("app:v1")),
			"- "+c.of(sbom).String()+": application/vnd.example.sbom", "- "+c.of(signature).String()+": application/vnd.example.signature", c.of(note).String())
		got := w.run("regctl", "artifact", "get", "--subject", w.ref("app:v1"), "--filter-artifact-type", "application/vnd.example.sbom")
		if got != w.read("sbom.json") {
			t.Errorf("regctl got %q", got)
		}
	}
	expectAll()
	w.run("oras", "copy", "-r", "--from-plain-http", "--to-plain-http", w.ref("app:v1"), w.ref("copied:v1"))
	expectSame(t, "what oras discovers of its copy", w.orasDiscover("copied:v1").all(), all...)
	w.run("regctl", "image", "copy", "--referrers", w.ref("app:v1"), w.ref("copied-too:v1"))
	expectSame(t, "what oras discovers of regctl's copy", w.orasDiscover("copied-too:v1").all(), all...)
	w.run("oras", "backup", "--plain-http", "--include-referrers", "--output", "backup", w.ref("app:v1"))

	if c := w.convert("app"); c.Unchanged != 3 || c.Converted+c.Skipped+c.Failed > 0 {
		t.Errorf("converting again: %+v", c)
	}
	if result := harness.Run(t, "garbage-collect", "--delete-untagged", w.Config); result.Exit != 0 {
		t.Errorf("%+v", result)
	}
	expectAll()
	for _, d := range []harness.Descriptor{sbom, note, signature} {
		client.DeleteManifest("app", d.Digest)
	}
	if result := harness.Run(t, "garbage-collect", "--delete-untagged", w.Config); result.Exit != 0 {
		t.Errorf("%+v", result)
	}
	expectAll()
	w.expectNoFallback()
}
