package blackbox_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const immutableTags = `
storage: {cache: {blobdescriptor: inmemory}}
extensions:
  retention:
    rules: [{repositories: ["**"], keep: {matching: ["latest"]}}]
    immutable: [{repositories: ["app"], tags: ["v*"]}]
`

// immutableReplicas starts two registries on one tree in which some tags are immutable.
func immutableReplicas(t *testing.T) (r *harness.Registry, a, b *harness.Client) {
	t.Helper()
	options := harness.Options{Driver: harness.SharedDriver(), Config: immutableTags}
	first := harness.Start(t, options)
	options.Root = first.Root
	return first, first.Client(), harness.Start(t, options).Client()
}

// refused expects a request to be refused because a tag is immutable.
func refused(t *testing.T, answer *harness.Response, tag string) {
	t.Helper()
	answer.ExpectError(http.StatusForbidden, "DENIED")
	if text := string(answer.Body); !strings.Contains(text, "the tag "+tag+" of app is immutable") {
		t.Errorf("the answer does not say why: %s", text)
	}
}

// An immutable tag cannot be moved through any replica, by a push of any kind, and such a
// push stores nothing.
func TestImmutableTagsCannotBeMoved(t *testing.T) {
	_, a, b := immutableReplicas(t)
	image, kinds := everyKind(a, "app")
	a.MustPush("app", "v9", kinds[0].manifest)
	for i, kind := range kinds {
		m := kind.manifest.Annotated("number", "another")
		for _, c := range []*harness.Client{a, b} {
			refused(t, c.Push("app", "v1", m), "v1")
			refused(t, pushTagged(c, m, "other", "v1"), "v1")
			c.GetManifest("app", m.Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
			c.GetManifest("app", "other").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		}
		if i == 0 {
			refused(t, b.Push("app", "v9", kinds[1].manifest), "v9")
		}
	}
	b.GetManifest("app", "v1").Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", image.Digest.String())

	// The same manifest may be pushed again, new tags may be set, and others be moved.
	same := harness.ORASArtifact("a/b")
	for _, c := range []*harness.Client{a, b, a} {
		c.MustPush("app", "v2", same)
		pushTagged(c, same, "v2", "v3").Expect(http.StatusCreated)
		c.MustPush("app", "latest", same)
		c.MustPush("app", "latest", harness.ORASArtifact("c/d"))
	}
	a.MustPush("elsewhere", "v1", same)
	b.MustPush("elsewhere", "v1", harness.ORASArtifact("c/d"))
}

// An immutable tag cannot be deleted, and neither can the manifest that it names.
func TestImmutableTagsCannotBeDeleted(t *testing.T) {
	r, a, b := immutableReplicas(t)
	image := a.PushImage("app", "v1", "layer")
	a.PushImage("app", "latest", "layer")
	other := a.PushImage("app", "dev", "another layer")
	for _, c := range []*harness.Client{a, b} {
		refused(t, c.Delete(harness.ManifestPath("app", "v1")), "v1")
		refused(t, c.Delete(harness.ManifestPath("app", image.Digest.String())), "v1")
		c.GetManifest("app", "v1").Expect(http.StatusOK)
		c.Delete(harness.ManifestPath("app", "v7")).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	b.Delete(harness.ManifestPath("app", "latest")).Expect(http.StatusAccepted)
	b.DeleteManifest("app", other.Digest)
	if tags := a.Tags("app"); !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("the tags are %q", tags)
	}
	// Rules remove it: they are those of the operator who made it immutable.
	if result := harness.Run(t, "garbage-collect", "--retention", r.Config); result.Exit != 0 {
		t.Fatalf("%+v", result)
	}
	a.GetManifest("app", "v1").Expect(http.StatusNotFound)
	b.PushImage("app", "v1", "a layer of another image")
}

// If several pushes set a new tag at once, it names one of their manifests in the end, and
// from then on no other.
func TestImmutableTagsThatAreSetAtOnce(t *testing.T) {
	_, a, b := immutableReplicas(t)
	manifests := []harness.Manifest{harness.ORASArtifact("a/b"), harness.ORASArtifact("c/d"), harness.ORASArtifact("e/f"), harness.ORASArtifact("g/h")}
	var pushes sync.WaitGroup
	statuses := make([]int, len(manifests))
	for i, m := range manifests {
		pushes.Go(func() { statuses[i] = []*harness.Client{a, b}[i%2].Push("app", "v1", m).Status })
	}
	pushes.Wait()
	won := a.GetManifest("app", "v1").Expect(http.StatusOK).Header.Get("Docker-Content-Digest")
	for i, m := range manifests {
		if isWinner := m.Digest().String() == won; statuses[i] != http.StatusCreated && (isWinner || statuses[i] != http.StatusForbidden) {
			t.Errorf("push %d is answered with %d", i, statuses[i])
		} else if !isWinner {
			refused(t, b.Push("app", "v1", m), "v1")
		}
	}
}

// The refusal does not depend on an extension.
func TestImmutableTagsWithoutExtensions(t *testing.T) {
	c := harness.Start(t, harness.Options{Config: immutableTags + "  oci: {enabled: false}\n  oras: {enabled: false}\n"}).Client()
	c.PushImage("app", "v1", "layer")
	config := c.PushBlob("app", []byte("{}"))
	refused(t, c.Push("app", "v1", harness.OCIImage(config)), "v1")
	refused(t, c.Delete(harness.ManifestPath("app", "v1")), "v1")
}

// An immutable tag whose manifest is gone, because it was deleted while it was tagged, can be
// set again, and deleted.
func TestImmutableTagsOfNothing(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Driver: harness.Filesystem, Config: immutableTags})
	c := r.Client()
	for _, again := range []bool{true, false} {
		image := c.PushImage("app", "v1", fmt.Sprint("a layer ", again))
		harness.RemoveAll(t, filepath.Join(r.Root, layout.Revision("app", image.Digest)))
		if again {
			other := c.PushImage("app", "v1", "another layer")
			c.GetManifest("app", "v1").Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", other.Digest.String())
			refused(t, c.Delete(harness.ManifestPath("app", "v1")), "v1")
			harness.RemoveAll(t, filepath.Join(r.Root, layout.Revision("app", other.Digest)))
		}
		c.Delete(harness.ManifestPath("app", "v1")).Expect(http.StatusAccepted)
		if tags := c.Tags("app"); len(tags) > 0 {
			t.Errorf("tags: %v", tags)
		}
	}
}
