package blackbox_test

import (
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const online = `
storage: {cache: {blobdescriptor: inmemory}}
extensions:
  collection: {pace: 1s}
`

// untilStatus asks for a path until it is answered with a status.
func untilStatus(t *testing.T, c *harness.Client, path string, status int) {
	t.Helper()
	for {
		resp := c.Head(path)
		if resp.Status == status {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("HEAD %s: %d, want %d", path, resp.Status, status)
		}
	}
}

// What a collection removes beside two registries is gone from their descriptor caches,
// and what one of them has told a client within the hour stays.
func TestCollectionWhileServing(t *testing.T) {
	t.Parallel()
	first := harness.Start(t, harness.Options{Config: online})
	c := first.Client()
	image := c.PushImage("team/app", "v1", "layer")
	signature := c.MustPush("team/app", "", harness.OCIIndex().Typed("example/signature").To(image))
	forgotten := c.PushBlob("team/app", []byte("forgotten"))
	promised := c.PushBlob("team/app", []byte("promised"))
	alias := c.PushBlobAs("team/app", []byte("by another digest"), digest.SHA512)
	untagged := c.PushImage("team/app", "", "of an untagged image")
	first.Restart() // it remembers nothing
	second := harness.Start(t, harness.Options{Config: online, Root: first.Root})
	for _, r := range []*harness.Registry{first, second} {
		r.Client().GetManifest("team/app", "v1").Expect(http.StatusOK)
	}
	second.Client().Head(harness.BlobPath("team/app", promised.Digest)).Expect(http.StatusOK)

	run := harness.Run(t, "garbage-collect", "--online", "--delete-untagged", first.Config)
	if run.Exit != 0 || !hasFields(run.Stdout, "manifests", "2", "1") {
		t.Fatalf("garbage-collect --online: %+v", run)
	}
	for _, r := range []*harness.Registry{first, second} {
		c := r.Client()
		for path, status := range map[string]int{
			harness.BlobPath("team/app", forgotten.Digest):                               http.StatusNotFound,
			harness.BlobPath("team/app", alias.Digest):                                   http.StatusNotFound,
			harness.BlobPath("team/app", promised.Digest):                                http.StatusOK,
			harness.ManifestPath("team/app", untagged.Digest.String()):                   http.StatusNotFound,
			harness.ManifestPath("team/app", signature.Digest.String()):                  http.StatusOK,
			harness.BlobPath("team/app", harness.BlobDescriptor([]byte("layer")).Digest): http.StatusOK,
		} {
			if resp := c.Head(path); resp.Status != status {
				t.Errorf("HEAD %s: %d, want %d", path, resp.Status, status)
			}
		}
	}
	// What is gone can be pushed again.
	c = second.Client()
	c.PushBlob("team/app", []byte("forgotten"))
	first.Client().Get(harness.BlobPath("team/app", forgotten.Digest)).Expect(http.StatusOK)
	c.PushImage("team/app", "v2", "of an untagged image")
	first.Client().GetManifest("team/app", untagged.Digest.String()).Expect(http.StatusOK)
}

// A registry that serves beside a collection which asks nobody does not vouch for what that
// has removed.
func TestCachesAfterACollectionBeside(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Config: online})
	c := r.Client()
	blob := c.PushBlob("team/app", []byte("garbage"))
	path := harness.BlobPath("team/app", blob.Digest)
	c.Head(path).Expect(http.StatusOK)
	if run := harness.Run(t, "garbage-collect", r.Config); run.Exit != 0 || !hasFields(run.Stdout, "blobs", "0", "1") {
		t.Fatalf("garbage-collect: %+v", run)
	}
	untilStatus(t, c, path, http.StatusNotFound)
	c.PushBlob("team/app", []byte("garbage"))
	c.Get(path).Expect(http.StatusOK)
}

// Rules are applied while registries serve: a tag that goes takes its image along, unless
// somebody has used one of them within the hour.
func TestRetentionWhileServing(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Config: online + `  retention: {rules: [{repositories: ["team/*"], keep: {matching: ["v*"]}}]}
`})
	c := r.Client()
	image := c.PushImage("team/app", "pr-1", "of a branch")
	used := c.PushImage("team/app", "pr-2", "of another one")
	kept := c.PushImage("team/app", "v1", "of a release")
	r.Restart()
	c = r.Client()
	c.GetManifest("team/app", "pr-2").Expect(http.StatusOK)
	run := harness.Run(t, "garbage-collect", "--online", "--retention", r.Config)
	if run.Exit != 0 || !hasFields(run.Stdout, "tags", "2", "1") {
		t.Fatalf("garbage-collect --online --retention: %+v", run)
	}
	for reference, status := range map[string]int{
		"pr-1": http.StatusNotFound, image.Digest.String(): http.StatusNotFound,
		"pr-2": http.StatusOK, used.Digest.String(): http.StatusOK,
		"v1": http.StatusOK, kept.Digest.String(): http.StatusOK,
	} {
		c.GetManifest("team/app", reference).Expect(status)
	}
	if tags := strings.Join(c.Tags("team/app"), " "); tags != "pr-2 v1" {
		t.Errorf("tags: %s", tags)
	}
}

// A replica whose registration is removed while it serves, or is not in a backup that is
// restored, registers again.
func TestRegistrationThatIsRemoved(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Config: online})
	promised := r.Client().PushBlob("team/app", []byte("promised"))
	r.Restart() // it remembers nothing
	harness.RemoveAll(t, filepath.Join(r.Root, layout.Collection))
	for registered := false; !registered; {
		names, _ := filepath.Glob(filepath.Join(r.Root, layout.Replica("*")))
		registered = slices.ContainsFunc(names, func(name string) bool { return filepath.Ext(name) == "" })
		if t.Context().Err() != nil {
			t.Fatal("it has not registered again")
		}
	}
	path := harness.BlobPath("team/app", promised.Digest)
	untilStatus(t, r.Client(), path, http.StatusOK)
	if run := harness.Run(t, "garbage-collect", "--online", r.Config); run.Exit != 0 {
		t.Fatalf("garbage-collect --online: %+v", run)
	}
	r.Client().Head(path).Expect(http.StatusOK)
}

// A collection that asked nobody, and was killed, does not keep registries from collecting.
func TestCollectionsAfterAKilledOne(t *testing.T) {
	t.Parallel()
	first := harness.Start(t, harness.Options{Config: online})
	garbage := first.Client().PushBlob("team/app", []byte("garbage"))
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	announcement := filepath.Join(first.Root, layout.RunCandidates(rand.Text()))
	if err := os.MkdirAll(filepath.Dir(announcement), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(announcement, []byte{2}, 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Start(t, harness.Options{Root: first.Root, Config: "extensions: {collection: {pace: 50ms, interval: 200ms, olderthan: 0s}}"})
	for there := true; there; {
		_, err := os.Stat(filepath.Join(first.Root, layout.BlobData(garbage.Digest)))
		there = !os.IsNotExist(err)
		if t.Context().Err() != nil {
			t.Fatal("the registry collects nothing")
		}
	}
}

// A collection frees space also if it can tell nobody: the storage may be full.
func TestCollectionThatCannotBeAnnounced(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{})
	garbage := r.Client().PushBlob("team/app", []byte("garbage"))
	r.Kill() // it stays registered
	harness.Block(t, filepath.Join(r.Root, layout.Active))
	run := harness.Run(t, "garbage-collect", r.Config)
	if run.Exit != 1 || !hasFields(run.Stdout, "blobs", "0", "1") || !strings.Contains(run.Stderr, "announcing what is removed") {
		t.Errorf("garbage-collect: %+v", run)
	}
	if _, err := os.Stat(filepath.Join(r.Root, layout.BlobData(garbage.Digest))); !os.IsNotExist(err) {
		t.Errorf("the garbage is still there: %v", err)
	}
}

// A replica that has lost contact with the storage refuses pushes, which a collection might
// spoil, and serves pulls all the same.
func TestPullsWithoutContact(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Config: online})
	c := r.Client()
	image := c.PushImage("team/app", "v1", "layer")
	layer := harness.BlobPath("team/app", harness.BlobDescriptor([]byte("layer")).Digest)
	config := emptyConfig(c, "team/app", harness.MediaTypeOCIConfig)
	runs := filepath.Join(r.Root, layout.Active)
	harness.Block(t, runs)
	push := func(want int) *harness.Response {
		for {
			resp := c.Push("team/app", "v2", harness.OCIImage(config))
			if resp.Status == want || t.Context().Err() != nil {
				return resp
			}
		}
	}
	refused := push(http.StatusServiceUnavailable).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
	if refused.Header.Get("Retry-After") == "" {
		t.Error("the refusal does not say when to come again")
	}
	c.GetManifest("team/app", "v1").Expect(http.StatusOK)
	c.Head(harness.ManifestPath("team/app", image.Digest.String())).Expect(http.StatusOK)
	c.Get(layer).Expect(http.StatusOK)
	c.Head(layer).Expect(http.StatusOK)
	if err := os.Remove(runs); err != nil {
		t.Fatal(err)
	}
	push(http.StatusCreated).Expect(http.StatusCreated)
}
