package blackbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// The commands say what they did: numbers with their nouns, and no removal or repair that
// has not happened.
func TestWordsOfCommands(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	m := harness.ORASArtifact("a/b").To(image)
	c.MustPush("app", "", m)
	c.PutManifest("app", harness.ORASArtifact("c/d").Digest().String(), m.ContentType, harness.ORASArtifact("c/d").Bytes())
	link := filepath.Join(r.Root, "docker/registry/v2/repositories/app/_refs/subjects/sha256", image.Digest.Encoded())
	if err := os.RemoveAll(link); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		command      string
		exit         int
		says, silent []string
	}{
		{"garbage-collect --dry-run -m CONFIG", 0, []string{"1 repository in ", "removable"}, []string{"removed", "deleted"}},
		{"referrers rebuild --dry-run CONFIG", 0, []string{"1 repository, 3 manifests read, 1 link to be written, 0 manifests unreadable"}, []string{" links written"}},
		{"referrers verify CONFIG", 1, []string{"1 repository, 1 fault; 0 dangling links", "registry: 1 fault in the index"}, []string{"repaired"}},
		{"referrers verify --repair CONFIG", 0, []string{"(repaired)", "1 repository, 1 fault, 1 of them repaired; 0 dangling links"}, nil},
		{"referrers verify CONFIG", 0, []string{"1 repository, 0 faults; 0 dangling links"}, []string{"repaired"}},
		{"garbage-collect -m CONFIG", 0, []string{"1 repository in ", "removed"}, []string{"removable"}},
		{"referrers rebuild CONFIG", 0, []string{"1 repository, 2 manifests read, 0 links written"}, nil},
	} {
		result := harness.Run(t, strings.Fields(strings.ReplaceAll(step.command, "CONFIG", r.Config))...)
		said := result.Stdout + result.Stderr
		if result.Exit != step.exit {
			t.Errorf("%s: exit code %d", step.command, result.Exit)
		}
		for _, want := range step.says {
			if !strings.Contains(said, want) {
				t.Errorf("%s does not say %q:\n%s", step.command, want, said)
			}
		}
		for _, never := range append(step.silent, "1 repositories", "1 manifests", "1 links", "1 faults", "1 blobs") {
			if strings.Contains(said, never) && !strings.Contains(said, "1"+never) {
				t.Errorf("%s says %q:\n%s", step.command, never, said)
			}
		}
	}
}

// The tree of an index has the manifests of its platforms, and what is attached to them.
func TestTreeOfAnIndex(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Config: "validation: {disabled: true}"})
	c := r.Client()
	amd, arm := c.PushImage("app", "", "amd64"), c.PushImage("app", "", "arm64")
	signature := harness.ORASArtifact("signature/example").To(arm)
	c.MustPush("app", "", signature)
	gone := digest.FromString("gone")
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
		{"mediaType":%[1]q,"digest":%[2]q,"size":%[3]d,"platform":{"os":"linux","architecture":"amd64"}},
		{"mediaType":%[1]q,"digest":%[4]q,"size":%[5]d,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
		{"mediaType":%[1]q,"digest":%[6]q,"size":1}]}`, amd.MediaType, amd.Digest, amd.Size, arm.Digest, arm.Size, gone)
	c.PutManifest("app", "v1", "application/vnd.oci.image.index.v1+json", []byte(index)).Expect(201)
	result := harness.Run(t, "referrers", "tree", r.Config, "app:v1")
	want := fmt.Sprintf(`app:v1 (%s)
├── manifest linux/amd64
│   └── %s
├── manifest linux/arm64/v8
│   └── %s
│       └── signature/example
│           └── %s
└── manifest
    └── %s (not in the repository)
`, digest.FromString(index), amd.Digest, arm.Digest, signature.Digest(), gone)
	if result.Exit != 0 || result.Stdout != want {
		t.Errorf("exit code %d: %s\n%s\nwant\n%s", result.Exit, result.Stderr, result.Stdout, want)
	}
	for reference, want := range map[string]string{
		"app:none":              "app:none: there is no such tag in the repository",
		"none:v1":               "none: there is no such repository",
		"none":                  "none: there is no such repository",
		"app@" + gone.String():  "there is no manifest " + gone.String() + " in the repository",
		"none@" + gone.String(): "there is no manifest " + gone.String() + " in the repository",
		"App":                   "not of the form REPOSITORY[:TAG|@DIGEST]",
		"app@sha256:aa":         "not of the form REPOSITORY[:TAG|@DIGEST]",
	} {
		result := harness.Run(t, "referrers", "tree", r.Config, reference)
		if result.Exit != 1 || !strings.Contains(result.Stderr, want) || strings.Contains(result.Stderr, "docker/registry") {
			t.Errorf("%s: exit code %d, %q, want %q", reference, result.Exit, result.Stderr, want)
		}
	}
}
