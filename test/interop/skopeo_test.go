//go:build e2e

package interop_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// The flags for a registry without TLS, as source and as destination.
const (
	skopeoFrom = "--src-tls-verify=false"
	skopeoTo   = "--dest-tls-verify=false"
	skopeoAt   = "--tls-verify=false"
)

// skopeo runs skopeo, which test/e2e/install installs.
func (w *workspace) skopeo(args ...string) string {
	w.t.Helper()
	return w.run(append([]string{"skopeo", "--insecure-policy"}, args...)...)
}

func TestSkopeo(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	image := w.image("app:v1")
	at := func(reference string) string { return "docker://" + w.ref(reference) }

	w.orasAttach("app:v1", "application/vnd.example.note", "note.txt")
	w.skopeo("copy", skopeoFrom, at("app:v1"), "oci:layout:v1")
	w.skopeo("copy", skopeoTo, "oci:layout:v1", at("copied:v1"))
	var inspected struct {
		Digest   digest.Digest
		RepoTags []string
	}
	w.runJSON(&inspected, "skopeo", "inspect", skopeoAt, at("copied:v1"))
	if inspected.Digest != image {
		t.Errorf("skopeo copied %s out and %s in", image, inspected.Digest)
	}
	if listed := w.listed("copied", image); len(listed) > 0 {
		t.Errorf("skopeo now copies referrers, docs/clients.md says it does not: %v", listed)
	}
	expectSame(t, "the tags that skopeo finds", inspected.RepoTags, "v1")

	w.skopeo("copy", "--format", "v2s2", skopeoFrom, skopeoTo, at("app:v1"), at("docker:v1"))
	raw := w.skopeo("inspect", "--raw", skopeoAt, at("docker:v1"))
	if !strings.Contains(raw, harness.MediaTypeDockerManifest) {
		t.Errorf("skopeo converted to Docker's format, and got %s", raw)
	}
	w.skopeo("delete", skopeoAt, at("docker:v1"))
	expectContains(t, "the answer after a deletion", w.fails("skopeo", "inspect", skopeoAt, at("docker:v1")), "manifest unknown")
	w.expectNoFallback()
}

// Skopeo gets manifests of sha512 digests by tag, and cannot verify sha512 digests.
func TestSkopeoAndSHA512(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	w.regctlSetup()
	w.image("app:v1")
	w.run("regctl", "image", "mod", "--digest-algo", "sha512", "--create", "long", w.ref("app:v1"))
	image := w.run("regctl", "image", "digest", w.ref("app:long"))
	raw := w.skopeo("inspect", "--raw", skopeoAt, "docker://"+w.ref("app:long"))
	if got := digest.SHA512.FromString(raw).String(); got != image {
		t.Errorf("skopeo got %s, expected %s", got, image)
	}
	expectContains(t, "what skopeo says to a sha512 digest",
		w.fails("skopeo", "--insecure-policy", "copy", skopeoFrom, "docker://"+w.ref("app:long"), "oci:layout:long"), "sha512:")
}

// TestSkopeoDocumentation runs the commands of docs/clients.md that need skopeo.
func TestSkopeoDocumentation(t *testing.T) {
	t.Parallel()
	runSections(t, clientsPage, setupSection, "skopeo")
}
