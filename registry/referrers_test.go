package registry

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/internal/layout"
)

// attached is a repository `demo` with an image tagged v1, an SBOM of the image
// and a signature of the SBOM, as a registry without index would leave it.
type attached struct {
	driver               storagedriver.StorageDriver
	config               string
	image, sbom, signing digest.Digest
}

func newAttached(t *testing.T) attached {
	t.Helper()
	root := t.TempDir()
	a := attached{
		driver: filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: 25}),
		config: filepath.Join(t.TempDir(), "config.yml"),
	}
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\n", root)
	if err := os.WriteFile(a.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a.image = a.store(t, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"`+digest.FromString("{}").String()+`","size":2},"layers":[]}`)
	a.sbom = a.store(t, artifactOf("sbom/example", a.image))
	a.signing = a.store(t, artifactOf("signature/example", a.sbom))
	a.put(t, layout.TagCurrent("demo", "v1"), a.image.String())
	return a
}

const orasArtifact = "application/vnd.cncf.oras.artifact.manifest.v1+json"

func artifactOf(artifactType string, subject digest.Digest) string {
	return fmt.Sprintf(`{"mediaType":%q,"artifactType":%q,"subject":{"mediaType":"a/b","digest":%q,"size":1}}`,
		orasArtifact, artifactType, subject)
}

func (a attached) put(t *testing.T, path, content string) {
	t.Helper()
	if err := a.driver.PutContent(context.Background(), path, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func (a attached) store(t *testing.T, content string) digest.Digest {
	t.Helper()
	d := digest.FromString(content)
	a.put(t, layout.BlobData(d), content)
	a.put(t, layout.RevisionLink("demo", d), d.String())
	return d
}

func (a attached) has(path string) bool {
	_, err := a.driver.Stat(context.Background(), path)
	return err == nil
}

// run runs `registry referrers` with arguments.
func run(args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := newReferrersCommand([]extensions.Extension{oras.New(), oci.New()})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(context.Background())
	return out.String(), errOut.String(), err
}

func TestRebuild(t *testing.T) {
	a := newAttached(t)
	link := layout.ReferrerLink("demo", a.image, a.sbom)
	if out, _, err := run("rebuild", "--dry-run", a.config); err != nil || a.has(link) || !strings.Contains(out, "3 manifests read, 2 links to be written") {
		t.Fatalf("dry run: %v\n%s\nlink written: %v", err, out, a.has(link))
	}
	if out, progress, err := run("rebuild", a.config); err != nil || !a.has(link) || !strings.Contains(out, "2 links written") || !strings.Contains(progress, "3 manifests") {
		t.Fatalf("%v\n%s%s", err, out, progress)
	}
	if out, _, err := run("rebuild", a.config); err != nil || !strings.Contains(out, "0 links written") {
		t.Fatalf("again: %v\n%s", err, out)
	}
	a.put(t, layout.BlobData(a.sbom), "torn")
	if _, _, err := run("rebuild", a.config); err == nil || !strings.Contains(err.Error(), "incomplete: 1 manifest cannot be read") {
		t.Errorf("with a manifest that cannot be read: %v", err)
	}
}

func TestVerify(t *testing.T) {
	a := newAttached(t)
	gone := digest.FromString("gone")
	if _, _, err := run("rebuild", a.config); err != nil {
		t.Fatal(err)
	}
	if out, _, err := run("verify", a.config); err != nil || !strings.Contains(out, "0 faults") {
		t.Fatalf("%v\n%s", err, out)
	}
	a.put(t, layout.ReferrerLink("demo", a.image, gone), gone.String())                                     // dangling
	a.put(t, layout.ReferrerLink("demo", a.sbom, a.signing), "sha256:torn")                                 // malformed content
	a.put(t, layout.ReferrerLink("demo", a.signing, a.sbom), a.sbom.String())                               // another subject
	a.put(t, layout.Subjects("demo")+"/sha256/stray", "x")                                                  // no path of a link
	if err := a.driver.Delete(context.Background(), layout.Referrer("demo", a.image, a.sbom)); err != nil { // missing
		t.Fatal(err)
	}
	out, _, err := run("verify", a.config)
	if err == nil {
		t.Fatalf("no error\n%s", out)
	}
	for _, want := range []string{
		"missing " + layout.Referrer("demo", a.image, a.sbom), "dangling " + layout.Referrer("demo", a.image, gone),
		"malformed " + layout.Subjects("demo") + "/sha256/stray", "malformed " + layout.Referrer("demo", a.sbom, a.signing), "malformed " + layout.Referrer("demo", a.signing, a.sbom),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if out, _, err := run("verify", "--repair", a.config); err != nil {
		t.Errorf("repair: %v\n%s", err, out)
	}
	if out, _, err := run("verify", a.config); err != nil {
		t.Errorf("after repair: %v\n%s", err, out)
	}
	if !a.has(layout.ReferrerLink("demo", a.image, a.sbom)) || a.has(layout.Referrer("demo", a.signing, a.sbom)) {
		t.Error("the links are not what the manifests say")
	}
	if !a.has(layout.Referrer("demo", a.image, gone)) { // a push may be about to put the manifest there
		t.Error("a link was removed that only a collection may remove")
	}

	a.put(t, layout.BlobData(a.sbom), "torn")
	out, _, err = run("verify", "--repair", a.config)
	if want := "unreadable " + layout.BlobData(a.sbom); err == nil || !strings.Contains(out, want) {
		t.Errorf("a manifest that cannot be read: %v\n%s, want %q", err, out, want)
	}
}

// Read-only mode applies to commands that write.
func TestReadOnlyMode(t *testing.T) {
	a := newAttached(t)
	t.Setenv("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}")
	for _, args := range [][]string{{"rebuild", a.config}, {"verify", "--repair", a.config}} {
		if out, _, err := run(args...); err == nil || !strings.Contains(err.Error(), "readonly") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	if out, _, err := run("rebuild", "--dry-run", a.config); err != nil || !strings.Contains(out, "2 links to be written") {
		t.Errorf("dry run: %v\n%s", err, out)
	}
	if _, _, err := run("verify", a.config); err == nil || !strings.Contains(err.Error(), "2 faults") {
		t.Errorf("verify: %v", err)
	}
	if a.has(layout.Refs("demo")) {
		t.Error("something was written")
	}
}

func TestTree(t *testing.T) {
	a := newAttached(t)
	want := fmt.Sprintf(`demo:v1 (%s)
└── sbom/example
    └── %s
        └── signature/example
            └── %s
`, a.image, a.sbom, a.signing)
	for _, ref := range []string{"demo", "demo:v1"} { // nothing is indexed yet: it makes no difference
		if out, _, err := run("tree", a.config, ref); err != nil || out != want {
			t.Errorf("%s: %v\n%s, want\n%s", ref, err, out, want)
		}
	}
	if out, _, err := run("tree", a.config, "demo@"+a.sbom.String(), "--format", "json"); err != nil || !strings.Contains(out, `"artifactType": "signature/example"`) {
		t.Errorf("json: %v\n%s", err, out)
	}
	out, _, err := run("tree", a.config, "demo:v1", "--format", "mermaid")
	if err != nil || !strings.HasPrefix(out, "graph BT\n") || !strings.Contains(out, "m"+a.signing.Encoded()[:16]+" --> m"+a.sbom.Encoded()[:16]) {
		t.Errorf("mermaid: %v\n%s", err, out)
	}
	if a.has(layout.Refs("demo")) {
		t.Error("showing a tree wrote to the storage")
	}
	for _, args := range [][]string{
		{"demo:none"}, {"none"}, {"Demo"}, {"demo@sha256:aa"}, {"demo:v1", "--format", "svg"}, {"demo@" + digest.FromString("x").String()},
	} {
		if out, _, err := run(append([]string{"tree", a.config}, args...)...); err == nil {
			t.Errorf("%q: no error\n%s", args, out)
		}
	}
}

// Links by which referrers form a cycle can be written by hand.
func TestTreeOfACircle(t *testing.T) {
	a := newAttached(t)
	// Many manifests without a subject, each attached to all others.
	many := []digest.Digest{}
	for i := range 30 {
		many = append(many, a.store(t, fmt.Sprintf(`{"mediaType":%q,"artifactType":"t","annotations":{"n":"%d"}}`, orasArtifact, i)))
	}
	for _, subject := range append(many, a.image) {
		for _, referrer := range many {
			a.put(t, layout.ReferrerLink("demo", subject, referrer), referrer.String())
		}
	}
	for _, format := range []string{"tree", "json", "mermaid"} {
		out, _, err := run("tree", a.config, "demo:v1", "--format", format)
		if err != nil || !strings.Contains(out, many[29].Encoded()[:12]) {
			t.Errorf("%s: %v\n%s", format, err, out)
		}
	}
}
