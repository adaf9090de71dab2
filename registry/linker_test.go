package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/test/harness"
)

// On a filesystem a push with a subject writes no file that one without does not
// write: the link is a second name of the revision's. Where it cannot be, or is
// torn, it is a file of its own.
func TestLinksOnDisk(t *testing.T) {
	root := t.TempDir()
	client := startRegistry(t, fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nhttp: {secret: s}\n"+
		"storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\n", root))
	blob := client.PushBlob("demo", []byte("{}"))
	image := client.PushImage("demo", "v1", "a layer")
	for _, m := range []harness.Manifest{
		harness.OCIImage(blob, blob).To(image), harness.OCIIndex(image).To(image), harness.ORASArtifact("sbom/example", blob).To(image),
	} {
		revision := filepath.Join(root, layout.RevisionLink("demo", m.Digest()))
		link := filepath.Join(root, layout.ReferrerLink("demo", image.Digest, m.Digest()))
		expect := func(shared bool) {
			t.Helper()
			client.MustPush("demo", "", m)
			if list := harness.Digests(client.Referrers(harness.OCI, "demo", image.Digest)); !slices.Equal(list, []digest.Digest{m.Digest()}) {
				t.Errorf("listed are %s", list)
			}
			if content, err := os.ReadFile(link); err != nil || string(content) != m.Digest().String() {
				t.Errorf("the link says %q, %v", content, err)
			}
			if sameFile(t, revision, link) != shared {
				t.Errorf("%s: the link shares the revision's file: %v", m.ContentType, !shared)
			}
		}
		expect(true)
		expect(false) // the revision has been written again

		if err := os.WriteFile(link, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		expect(false)

		client.DeleteManifest("demo", m.Digest())
		if _, err := os.Stat(link); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after the delete: %v", err)
		}
		expect(true)
		client.DeleteManifest("demo", m.Digest())
	}
}

// startRegistry serves a registry of the configuration for the rest of the test.
func startRegistry(t *testing.T, config string) *harness.Client {
	t.Helper()
	handler, closer, err := NewHandler(context.Background(), []byte(config), oras.New(), oci.New())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	})
	return harness.NewClient(t, server.URL)
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	var infos [2]os.FileInfo
	for i, name := range []string{a, b} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		infos[i] = info
	}
	return os.SameFile(infos[0], infos[1])
}
