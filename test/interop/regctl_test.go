//go:build e2e

package interop_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// regctlSetup tells regctl that the registry has no TLS.
func (w *workspace) regctlSetup() {
	w.t.Helper()
	w.run("regctl", "registry", "set", "--tls", "disabled", w.Addr)
}

// regctlAttach attaches a file with regctl and returns the digest of the manifest.
func (w *workspace) regctlAttach(subject, artifactType, file string) digest.Digest {
	w.t.Helper()
	return digest.Digest(w.run("regctl", "artifact", "put", "--format", "{{ .Manifest.GetDescriptor.Digest }}",
		"--artifact-type", artifactType, "--subject", w.ref(subject), "-m", "application/octet-stream", "-f", file))
}

func (w *workspace) regctlList(subject string, flags ...string) []digest.Digest {
	w.t.Helper()
	output := w.run(append([]string{
		"regctl", "artifact", "list",
		"--format", "{{ range .Descriptors }}{{ println .Digest }}{{ end }}", w.ref(subject),
	}, flags...)...)
	var digests []digest.Digest
	for line := range strings.FieldsSeq(output) {
		digests = append(digests, digest.Digest(line))
	}
	return digests
}

func TestRegctl(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	w.regctlSetup()
	image := w.image("app:v1")
	sbom := w.regctlAttach("app:v1", "application/vnd.example.sbom", "sbom.json")
	note := w.regctlAttach("app:v1", "application/vnd.example.note", "note.txt")
	signature := w.regctlAttach("app@"+sbom.String(), "application/vnd.example.signature", "note.txt")

	expectSame(t, "what regctl lists", w.regctlList("app:v1"), sbom, note)
	expectSame(t, "what regctl lists of one type",
		w.regctlList("app:v1", "--filter-artifact-type", "application/vnd.example.sbom"), sbom)
	tree := w.run("regctl", "artifact", "tree", w.ref("app:v1"))
	expectContains(t, "the tree that regctl prints", tree, "Digest: "+image.String(),
		"- "+sbom.String()+": application/vnd.example.sbom", "- "+signature.String()+": application/vnd.example.signature")
	got := w.run("regctl", "artifact", "get", "--subject", w.ref("app:v1"), "--filter-artifact-type", "application/vnd.example.sbom")
	if got != w.read("sbom.json") {
		t.Errorf("regctl got %q", got)
	}

	w.run("regctl", "image", "copy", "--referrers", w.ref("app:v1"), w.ref("copied:v1"))
	expectSame(t, "what regctl lists of the copy", w.regctlList("copied:v1"), sbom, note)
	expectSame(t, "what regctl lists of the copy's SBOM", w.regctlList("copied@"+sbom.String()), signature)

	w.run("regctl", "manifest", "delete", w.ref("app@"+note.String()))
	expectSame(t, "what is left after a deletion", w.regctlList("app:v1"), sbom)
	w.expectNoFallback()
}
