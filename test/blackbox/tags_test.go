package blackbox_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// pushTagged pushes a manifest by its digest, with tags in the query.
func pushTagged(c *harness.Client, m harness.Manifest, tags ...string) *harness.Response {
	path := harness.ManifestPath("app", m.Digest().String()) + "?tag=" + strings.Join(tags, "&tag=")
	return c.Send(http.MethodPut, path, m.Bytes(), "Content-Type: "+m.ContentType)
}

// Manifests of every kind can be pushed with several tags. All of them are there when the
// push is answered, on every replica.
func TestTagParameters(t *testing.T) {
	a, b := replicas(t)
	_, kinds := everyKind(a, "app")
	for i, kind := range kinds {
		var tags []string
		for n := range 100 {
			tags = append(tags, fmt.Sprintf("kind-%d.%d", i, n))
		}
		d := kind.manifest.Digest().String()
		answer := pushTagged(a, kind.manifest, tags...).Expect(http.StatusCreated).ExpectHeader("Docker-Content-Digest", d)
		if got := answer.Header.Values("OCI-Tag"); !slices.Equal(got, tags) {
			t.Errorf("%s: OCI-Tag: %q", kind.name, got)
		}
		for _, tag := range tags {
			b.GetManifest("app", tag).Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", d)
		}
		if got := b.Tags("app"); !containsAll(got, tags) {
			t.Errorf("%s: the tags are %q", kind.name, got)
		}
	}
}

func containsAll(list, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(one string) bool { return !slices.Contains(list, one) })
}

// Tags are moved by a push with parameters as by any other.
func TestTagParametersMoveTags(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	first, second := harness.ORASArtifact("a/b"), harness.ORASArtifact("c/d")
	pushTagged(c, first, "one", "two", "two").Expect(http.StatusCreated)
	pushTagged(c, second, "two").Expect(http.StatusCreated)
	for tag, m := range map[string]harness.Manifest{"one": first, "two": second} {
		c.GetManifest("app", tag).Expect(http.StatusOK).ExpectBody(m.Bytes())
	}
}

// A push with tags that cannot be set stores nothing.
func TestTagParametersThatAreRefused(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	m := harness.ORASArtifact("a/b")
	for _, bad := range []string{"", "-a", "a/b", "a%0a", "a%00b", "a:b", "..%2f..%2fother", "%zz", "a;b", strings.Repeat("a", 129)} {
		pushTagged(c, m, "good", bad).ExpectError(http.StatusBadRequest, "TAG_INVALID").ExpectNoHeader("OCI-Tag")
	}
	pushTagged(c, m, slices.Repeat([]string{"a"}, 101)...).ExpectError(http.StatusRequestURITooLong, "TAG_INVALID")
	c.GetManifest("app", m.Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	c.GetManifest("app", "good").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	// What is wrong with the manifest is said as without tags.
	pushTagged(c, harness.ORASArtifact(""), "good").ExpectError(http.StatusBadRequest, "MANIFEST_INVALID").ExpectNoHeader("OCI-Tag")
}

// A push that cannot set all tags names those that are missing.
func TestTagParametersThatFail(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	m := harness.ORASArtifact("a/b")
	c.MustPush("app", "one", m)
	broken := filepath.Join(r.Root, layout.Tags("app"), "broken")
	if err := os.WriteFile(broken, nil, 0o666); err != nil { // where a folder would be
		t.Fatal(err)
	}
	answer := pushTagged(c, m, "one", "broken", "two").ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE").ExpectNoHeader("OCI-Tag")
	if !strings.Contains(string(answer.Body), `"failed":["broken"]`) {
		t.Errorf("the answer is %s", answer.Body)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	pushTagged(c, m, "one", "broken", "two").Expect(http.StatusCreated)
}

// Parameters of a push by tag are ignored, and not confirmed.
func TestTagParametersOfAPushByTag(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	m := harness.ORASArtifact("a/b")
	c.Send(http.MethodPut, harness.ManifestPath("app", "one")+"?tag=two", m.Bytes(), "Content-Type: "+m.ContentType).
		Expect(http.StatusCreated).ExpectNoHeader("OCI-Tag")
	if tags := c.Tags("app"); !slices.Equal(tags, []string{"one"}) {
		t.Errorf("the tags are %q", tags)
	}
}

// A tag that is not there can neither be pulled nor deleted.
func TestTagsThatAreUnknown(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		c.MustPush("app", "one", harness.ORASArtifact("a/b"))
		for _, path := range []string{harness.ManifestPath("app", "two"), harness.ManifestPath("other", "one")} {
			c.Get(path).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
			c.Delete(path).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		}
		c.Delete(harness.ManifestPath("app", "one")).Expect(http.StatusAccepted)
		c.Delete(harness.ManifestPath("app", "one")).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	})
}

// There is a notification for each tag.
func TestTagParametersAreNotified(t *testing.T) {
	config, events := receiver(t)
	c := harness.Start(t, harness.Options{Config: config}).Client()
	m := harness.ORASArtifact("a/b")
	pushTagged(c, m, "one", "two", "three").Expect(http.StatusCreated)
	for _, tag := range []string{"one", "two", "three"} {
		expectEvent(t, events, "push", tag, m.Digest().String())
	}
	last := harness.ORASArtifact("c/d")
	c.MustPush("app", "last", last)
	expectEvent(t, events, "push", "last", last.Digest().String())
}
