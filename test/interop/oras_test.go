//go:build e2e

package interop_test

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// orasNode is a manifest in the output of `oras discover --format json`.
type orasNode struct {
	Digest       digest.Digest     `json:"digest"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
	Referrers    []orasNode        `json:"referrers"`
}

// all are the digests of the node's referrers and of theirs.
func (n orasNode) all() []digest.Digest {
	var digests []digest.Digest
	for _, r := range n.Referrers {
		digests = append(append(digests, r.Digest), r.all()...)
	}
	return digests
}

// orasAttach attaches a file with oras and returns the digest of the manifest.
func (w *workspace) orasAttach(subject, artifactType, file string, flags ...string) digest.Digest {
	w.t.Helper()
	var pushed struct{ Digest digest.Digest }
	w.runJSON(&pushed, append([]string{
		"oras", "attach", "--plain-http", "--format", "json", "--artifact-type", artifactType,
		w.ref(subject), file + ":application/octet-stream",
	}, flags...)...)
	return pushed.Digest
}

func (w *workspace) orasDiscover(subject string, flags ...string) orasNode {
	w.t.Helper()
	var tree orasNode
	w.runJSON(&tree, append([]string{"oras", "discover", "--plain-http", "--format", "json", w.ref(subject)}, flags...)...)
	return tree
}

// TestORAS runs the commands of a user of oras, once with oras detecting what the registry
// supports, and once with the referrers API configured.
func TestORAS(t *testing.T) {
	t.Parallel()
	for _, spec := range []struct {
		name           string
		flag, from, to []string
	}{
		{name: "auto"},
		{
			name: "referrers API",
			flag: []string{"--distribution-spec", "v1.1-referrers-api"},
			from: []string{"--from-distribution-spec", "v1.1-referrers-api"},
			to:   []string{"--to-distribution-spec", "v1.1-referrers-api"},
		},
	} {
		t.Run(spec.name, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t, harness.Options{})
			w.run("oras", "push", "--plain-http", "--artifact-type", "application/vnd.example.app", w.ref("app:v1"), "hello.txt:text/plain")
			sbom := w.orasAttach("app:v1", "application/vnd.example.sbom", "sbom.json",
				append(spec.flag, "--annotation", "org.example.tool=scanner")...)
			note := w.orasAttach("app:v1", "application/vnd.example.note", "note.txt", spec.flag...)
			signature := w.orasAttach("app@"+sbom.String(), "application/vnd.example.signature", "note.txt", spec.flag...)

			tree := w.run(append([]string{"oras", "discover", "--plain-http", w.ref("app:v1")}, spec.flag...)...)
			expectContains(t, "the tree that oras prints", tree,
				"─ application/vnd.example.sbom\n", "─ "+sbom.String(), "org.example.tool: scanner",
				"─ application/vnd.example.signature\n", "─ "+signature.String(), "─ "+note.String())
			discovered := w.orasDiscover("app:v1", spec.flag...)
			expectSame(t, "what oras discovers", discovered.all(), sbom, note, signature)
			filtered := w.orasDiscover("app:v1", append(spec.flag, "--artifact-type", "application/vnd.example.sbom", "--depth", "1")...)
			expectSame(t, "what oras discovers of one type", filtered.all(), sbom)

			w.run("oras", "pull", "--plain-http", "-o", "pulled", w.ref("app@"+sbom.String()))
			if got := w.read("pulled/sbom.json"); got != w.read("sbom.json") {
				t.Errorf("oras pulled %q", got)
			}

			copying := slices.Concat([]string{"oras", "copy", "-r", "--from-plain-http", "--to-plain-http", w.ref("app:v1"), w.ref("copied:v1")}, spec.from, spec.to)
			w.run(copying...)
			expectSame(t, "what oras discovers of the copy", w.orasDiscover("copied:v1", spec.flag...).all(), sbom, note, signature)

			w.run("oras", "manifest", "delete", "--force", "--plain-http", w.ref("app@"+note.String()))
			expectSame(t, "what is left after a deletion", w.orasDiscover("app:v1", spec.flag...).all(), sbom, signature)
			w.expectNoFallback()
		})
	}
}

// TestORASBackup saves an artifact with its referrers to a folder, and restores it.
func TestORASBackup(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	w.image("app:v1")
	sbom := w.orasAttach("app:v1", "application/vnd.example.sbom", "sbom.json")
	signature := w.orasAttach("app@"+sbom.String(), "application/vnd.example.signature", "note.txt")
	w.run("oras", "backup", "--plain-http", "--include-referrers", "--output", "backup", w.ref("app:v1"))
	w.run("oras", "restore", "--plain-http", "--input", "backup", w.ref("restored:v1"))
	expectSame(t, "what oras discovers of what it restored", w.orasDiscover("restored:v1").all(), sbom, signature)
	w.expectNoFallback()
}
