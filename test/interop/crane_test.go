//go:build e2e

package interop_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestCrane(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	image := w.image("app:v1")
	if manifest := w.run("crane", "manifest", w.ref("app:v1")); digest.FromString(manifest) != image {
		t.Errorf("crane got another manifest than %s: %s", image, manifest)
	}
	w.run("crane", "pull", "--format", "oci", w.ref("app:v1"), "layout")
	w.run("crane", "push", "layout", w.ref("pushed:v1"))
	w.orasAttach("app:v1", "application/vnd.example.note", "note.txt")
	w.run("crane", "copy", w.ref("app:v1"), w.ref("copied:v1"))
	if listed := w.listed("copied", image); len(listed) > 0 {
		t.Errorf("crane now copies referrers, docs/clients.md says it does not: %v", listed)
	}
	for _, repository := range []string{"pushed", "copied"} {
		if got := w.run("crane", "digest", w.ref(repository+":v1")); got != image.String() {
			t.Errorf("crane pushed %s to %s, expected %s", got, repository, image)
		}
		w.run("crane", "validate", "--remote", w.ref(repository+":v1"))
	}
	expectSame(t, "the catalog", strings.Fields(w.run("crane", "catalog", w.Addr)), "app", "copied", "pushed")
	w.run("crane", "tag", w.ref("app:v1"), "v2")
	expectSame(t, "the tags", strings.Fields(w.run("crane", "ls", w.ref("app"))), "v1", "v2")
	w.run("crane", "delete", w.ref("copied@"+image.String()))
	expectContains(t, "the answer after a deletion", w.fails("crane", "manifest", w.ref("copied@"+image.String())), "MANIFEST_UNKNOWN")
	w.expectNoFallback()
}
