package blackbox_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// A collection keeps what tags need with all its referrers, as seen by a registry that
// serves meanwhile and by one that is started afterwards.
func TestGarbageCollection(t *testing.T) {
	r := harness.Start(t, harness.Options{Driver: harness.SharedDriver()})
	c := r.Client()
	image, kinds := everyKind(c, "app")
	for _, kind := range kinds {
		c.MustPush("app", "", kind.manifest)
	}
	chain := image
	for _, artifactType := range []string{"sbom/example", "signature/of-sbom", "signature/of-signature"} {
		chain = c.MustPush("app", "", harness.ORASArtifact(artifactType, c.PushBlob("app", []byte(artifactType))).To(chain))
	}
	old := c.PushImage("app", "old", "an old layer")
	signature := c.MustPush("app", "", harness.ORASArtifact("signature", c.PushBlob("app", []byte("old signature"))).To(old))
	c.Delete(harness.ManifestPath("app", "old")).Expect(http.StatusAccepted) // the tag only
	deleted := c.PushImage("app", "deleted", "a deleted layer")
	dangling := c.MustPush("app", "", harness.OCIImage(emptyConfig(c, "app", harness.MediaTypeOCIConfig)).To(deleted))
	c.DeleteManifest("app", deleted.Digest)

	listings := map[string][]harness.Descriptor{}
	for _, route := range harness.Routes() {
		listings[route.Name] = c.Referrers(route, "app", image.Digest)
	}
	check := func(c *harness.Client) {
		t.Helper()
		for _, route := range harness.Routes() {
			equal(t, "referrers of the tagged image by "+route.Name, c.Referrers(route, "app", image.Digest), listings[route.Name])
			sameDigests(t, "referrers of the old image", c.Referrers(route, "app", old.Digest))
		}
		c.GetManifest("app", "v1").Expect(http.StatusOK)
		c.GetManifest("app", chain.Digest.String()).Expect(http.StatusOK)
		for _, kind := range kinds {
			if m := kind.manifest; m.Subject != nil {
				c.GetManifest("app", m.Digest().String()).ExpectBody(m.Bytes())
				for _, blob := range m.Blobs {
					c.Get(harness.BlobPath("app", blob.Digest)).Expect(http.StatusOK)
				}
			}
		}
	}

	result := harness.Run(t, "garbage-collect", "--delete-untagged", r.Config)
	if result.Exit != 0 || !strings.Contains(result.Stdout, "referrer links") {
		t.Fatalf("garbage-collect: %+v", result)
	}
	check(c)
	r.Kill()
	r.Restart()
	c = r.Client()
	check(c)
	for _, gone := range []harness.Descriptor{old, signature, deleted, dangling} {
		c.GetManifest("app", gone.Digest.String()).Expect(http.StatusNotFound)
	}
	for _, blob := range []string{"an old layer", "old signature", "a deleted layer"} {
		goneBlob(t, c, "app", digest.FromString(blob))
	}

	again := harness.Run(t, "garbage-collect", "--delete-untagged", "--format", "json", r.Config)
	if again.Exit != 0 || strings.Count(again.Stdout, `"removed": 0`) != 5 {
		t.Errorf("the second run removes something: %+v", again)
	}

	// What was removed can be pushed again, and is listed again.
	pushed := c.PushImage("app", "old", "an old layer")
	m := harness.ORASArtifact("signature", c.PushBlob("app", []byte("old signature"))).To(pushed)
	c.MustPush("app", "", m)
	sameDigests(t, "referrers of the image that was pushed again", c.Referrers(harness.OCI, "app", pushed.Digest), m.Digest())
}

// goneBlob expects a blob to be gone. A descriptor cache that outlives the process still
// has it, and then the answer breaks off.
func goneBlob(t *testing.T, c *harness.Client, repository string, d digest.Digest) {
	t.Helper()
	if resp, err := c.Do(t.Context(), harness.Request{Method: http.MethodGet, Path: harness.BlobPath(repository, d)}); err == nil {
		resp.Expect(http.StatusNotFound)
	}
}

// Content that is pushed under a digest of another algorithm than it is stored under is
// kept as long as a manifest references it by that digest.
func TestGarbageCollectionOfAliases(t *testing.T) {
	for name, flags := range map[string][]string{
		"no flag": nil, "delete-untagged": {"-m"}, "delete-dangling-referrers": {"--delete-dangling-referrers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := harness.Start(t, harness.Options{Driver: harness.SharedDriver()})
			c := r.Client()
			layer := c.PushBlobAs("app", []byte("layer"), digest.SHA512)
			image := c.MustPush("app", "v1", harness.OCIImage(emptyConfig(c, "app", harness.MediaTypeOCIConfig), layer))
			blob := c.PushBlobAs("app", []byte("blob"), digest.SHA512)
			artifact := harness.ORASArtifact("sbom/example", blob).To(image)
			c.MustPush("app", "", artifact)
			unused := c.PushBlobAs("app", []byte("unused"), digest.SHA512)
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			result := harness.Run(t, slices.Concat([]string{"garbage-collect"}, flags, []string{r.Config})...)
			if result.Exit != 0 {
				t.Fatalf("garbage-collect: %+v", result)
			}
			r.Restart()
			c = r.Client()
			c.GetManifest("app", "v1").Expect(http.StatusOK)
			c.GetManifest("app", artifact.Digest().String()).ExpectBody(artifact.Bytes())
			c.Get(harness.BlobPath("app", layer.Digest)).ExpectBody([]byte("layer"))
			c.Get(harness.BlobPath("app", blob.Digest)).ExpectBody([]byte("blob"))
			sameDigests(t, "referrers", c.Referrers(harness.Draft1, "app", image.Digest), artifact.Digest())
			goneBlob(t, c, "app", unused.Digest)
			goneBlob(t, c, "app", digest.FromString("unused"))
			// Both can be pushed again, and need no more than their manifests.
			c.MustPush("app", "again", harness.OCIImage(emptyConfig(c, "app", harness.MediaTypeOCIConfig), layer))
			c.MustPush("app", "", artifact)
		})
	}
}
