//go:build e2e

package interop_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// TestSHA512 lets each client do what it can with an image whose digests are all sha512.
// Regctl makes it, and pushes it by its digest with the tag in the query.
func TestSHA512(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	w.regctlSetup()
	w.image("app:v1")
	w.run("regctl", "image", "mod", "--digest-algo", "sha512", "--create", "long", w.ref("app:v1"))
	image := digest.Digest(w.run("regctl", "image", "digest", w.ref("app:long")))
	if content := w.run("crane", "manifest", w.ref("app:long")); digest.SHA512.FromString(content) != image || strings.Contains(content, `"sha256:`) {
		t.Fatalf("%s is the digest of %s", image, content)
	}
	if got := w.run("crane", "digest", w.ref("app:long")); got != image.String() {
		t.Errorf("crane finds %s", got)
	}

	sbom := w.orasAttach("app:long", "application/vnd.example.sbom", "sbom.json")
	note := w.regctlAttach("app@"+image.String(), "application/vnd.example.note", "note.txt")
	expectSame(t, "what oras discovers", w.orasDiscover("app@"+image.String()).all(), sbom, note)
	expectSame(t, "what regctl lists", w.regctlList("app:long"), sbom, note)

	w.run("regctl", "image", "copy", "--referrers", w.ref("app:long"), w.ref("regctl:long"))
	w.run("oras", "copy", "-r", "--from-plain-http", "--to-plain-http", w.ref("app@"+image.String()), w.ref("oras@"+image.String()))
	for _, copied := range []string{"regctl:long", "oras@" + image.String()} {
		if got := w.run("regctl", "image", "digest", w.ref(copied)); got != image.String() {
			t.Errorf("%s is a copy of %s", got, image)
		}
		expectSame(t, "what is listed of "+copied, w.regctlList(copied), sbom, note)
	}
	w.run("crane", "pull", w.ref("app@"+image.String()), "image.tar")

	// Crane, and oras with a tag, push by the tag alone, so that the registry decides on the
	// digest.
	w.run("crane", "copy", w.ref("app:long"), w.ref("crane:v1"))
	if got := digest.Digest(w.run("crane", "digest", w.ref("crane:v1"))); got.Algorithm() != digest.SHA256 {
		t.Errorf("crane pushed %s", got)
	}
	expectContains(t, "the answer to oras", w.fails("oras", "copy", "--from-plain-http", "--to-plain-http",
		w.ref("app:long"), w.ref("oras:v1")), "digest mismatch in Docker-Content-Digest")

	file := digest.SHA512.FromString(w.read("hello.txt"))
	for _, pushed := range []string{
		w.run("oras", "blob", "push", "--plain-http", w.ref("blobs@"+file.String()), "hello.txt"),
		w.run("oras", "blob", "fetch", "--plain-http", "--descriptor", w.ref("blobs@"+file.String())),
		w.run("regctl", "blob", "head", w.ref("blobs"), file.String()),
	} {
		expectContains(t, "what the clients say of a blob", pushed, file.String())
	}
	w.run("oras", "manifest", "delete", "--plain-http", "-f", w.ref("app@"+image.String()))
	expectContains(t, "the answer after a deletion", w.fails("crane", "manifest", w.ref("app@"+image.String())), "MANIFEST_UNKNOWN")
	w.expectNoFallback()
}
