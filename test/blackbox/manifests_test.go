package blackbox_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// fixture is one manifest of each kind, in a repository with everything that they need.
type fixture struct {
	name     string
	manifest harness.Manifest
}

// everyKind pushes what manifests of all kinds need, and the image that the
// artifacts among them refer to.
func everyKind(c *harness.Client, repository string) (image harness.Descriptor, list []fixture) {
	image = c.PushImage(repository, "v1", "a layer")
	blob := c.PushBlob(repository, []byte("a signature"))
	config := emptyConfig(c, repository, harness.MediaTypeOCIConfig)
	platform := image
	platform.Platform = &harness.Platform{Architecture: "amd64", OS: "linux"}
	dockerConfig := config
	dockerConfig.MediaType = harness.MediaTypeDockerConfig
	dockerLayer := blob
	dockerLayer.MediaType = harness.MediaTypeDockerLayer
	draft := harness.ORASArtifact("draft/type", blob).To(image)
	draft.MediaType = ""
	unknown := harness.ORASArtifact("sbom/example", blob).To(image)
	unknown.Raw = []byte("{\n  \"unknown\": [1, {\"deep\": null}],\n" + strings.TrimPrefix(string(unknown.Bytes()), "{"))
	return image, []fixture{
		{"ORAS artifact", harness.ORASArtifact("sbom/example", blob).To(image).Annotated("a", "b")},
		{"ORAS artifact without blobs", harness.ORASArtifact("sbom/example").To(image)},
		{"ORAS artifact without subject", harness.ORASArtifact("sbom/example", blob)},
		{"ORAS artifact of draft.1", draft},
		{"ORAS artifact with unknown members", unknown},
		{"OCI artifact", harness.OCIArtifact("sbom/example", blob).To(image)},
		{"OCI image", harness.OCIImage(config, blob)},
		{"OCI image with subject", harness.OCIImage(config, blob).To(image)},
		{"OCI index", harness.OCIIndex(image)},
		{"OCI index with subject", harness.OCIIndex(image).To(image).Typed("an/index")},
		{"Docker image", harness.DockerImage(dockerConfig, dockerLayer)},
		{"Docker list", harness.DockerList(platform)},
	}
}

func TestManifestsOfEveryKindAreStoredAndServed(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		_, kinds := everyKind(c, "some/app")
		for i, kind := range kinds {
			m := kind.manifest
			tag := string(rune('a' + i))
			t.Run(kind.name, func(t *testing.T) {
				c := c.For(t)
				for _, reference := range []string{"", tag} {
					pushed := c.Push("some/app", reference, m).Expect(http.StatusCreated)
					pushed.ExpectHeader("Docker-Content-Digest", m.Digest().String())
					pushed.ExpectHeader("Docker-Distribution-API-Version", "registry/2.0")
					pushed.ExpectHeader("Content-Length", "0")
					location := pushed.Header.Get("Location")
					if want := c.URL + harness.ManifestPath("some/app", m.Digest().String()); location != want {
						t.Errorf("Location is %q, want %q", location, want)
					}
					c.Get(location, harness.AcceptAll).Expect(http.StatusOK).ExpectBody(m.Bytes())
				}
				for _, path := range []string{
					harness.ManifestPath("some/app", m.Digest().String()),
					harness.ManifestPath("some/app", tag),
					"/oras/artifacts/v1" + strings.TrimPrefix(harness.ManifestPath("some/app", m.Digest().String()), "/v2"),
					"/oras/artifacts/v1" + strings.TrimPrefix(harness.ManifestPath("some/app", tag), "/v2"),
				} {
					expectManifest(c.Get(path, harness.AcceptAll), m).ExpectBody(m.Bytes())
					expectManifest(c.Head(path, harness.AcceptAll), m).ExpectBody(nil)
					cached := c.Get(path, harness.AcceptAll, "If-None-Match: \""+m.Digest().String()+"\"")
					cached.Expect(http.StatusNotModified).ExpectBody(nil)
				}
			})
		}
	})
}

func expectManifest(resp *harness.Response, m harness.Manifest) *harness.Response {
	return resp.Expect(http.StatusOK).
		ExpectHeader("Content-Type", m.ContentType).
		ExpectHeader("Docker-Content-Digest", m.Digest().String()).
		ExpectHeader("Docker-Distribution-API-Version", "registry/2.0").
		ExpectHeader("ETag", `"`+m.Digest().String()+`"`).
		ExpectLength(len(m.Bytes()))
}

// Distribution answers 404 for OCI manifests to clients that state no type.
func TestManifestsAreServedToClientsThatStateNoType(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		_, kinds := everyKind(c, "app")
		for _, kind := range kinds {
			c.MustPush("app", "", kind.manifest)
			for _, headers := range [][]string{nil, {"Accept: */*"}, {"Accept: */*;q=0.8"}, {"Accept:"}} {
				resp := c.Get(harness.ManifestPath("app", kind.manifest.Digest().String()), headers...)
				expectManifest(resp, kind.manifest).ExpectBody(kind.manifest.Bytes())
			}
		}
	})
}

// Types that a client states mean the same as in distribution.
func TestStatedTypesKeepTheirMeaning(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		c.PushImage("app", "v1", "layer")
		path := harness.ManifestPath("app", "v1")
		c.Get(path, "Accept: "+harness.MediaTypeOCIImage).Expect(http.StatusOK)
		c.Get(path, "Accept: "+harness.MediaTypeDockerManifest).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		c.Get(path, "Accept: "+harness.MediaTypeDockerManifest, "Accept: */*").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	})
}

func TestUnknownManifests(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		missing := harness.BlobDescriptor([]byte("nobody pushed this")).Digest.String()
		for _, base := range []string{"/v2/", "/oras/artifacts/v1/"} {
			for _, repository := range []string{"app", "no/such/app"} {
				for _, reference := range []string{"none", missing} {
					path := base + repository + "/manifests/" + reference
					c.Get(path).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
					c.Head(path).Expect(http.StatusNotFound)
				}
			}
			c.Get(base+"app/manifests/sha256:abc").ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		}
		// A manifest of one repository is not one of another.
		c.PushImage("other", "v1", "another layer")
		c.GetManifest("other", image.Digest.String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	})
}

func TestPushingTwiceIsHarmless(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image, kinds := everyKind(c, "app")
		for _, kind := range kinds {
			c.MustPush("app", "", kind.manifest)
			c.MustPush("app", "", kind.manifest)
			if kind.manifest.Subject == nil {
				continue
			}
			count := 0
			for _, d := range c.Referrers(harness.OCI, "app", image.Digest) {
				if d.Digest == kind.manifest.Digest() {
					count++
				}
			}
			if count != 1 {
				t.Errorf("%s pushed twice is listed %d times", kind.name, count)
			}
		}
	})
}

func TestTagsOfArtifacts(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		first := harness.ORASArtifact("sbom/example").To(image)
		second := first.Annotated("second", "yes")
		c.MustPush("app", "sbom", first)
		c.MustPush("app", "sbom", second)
		c.GetManifest("app", "sbom").Expect(http.StatusOK).ExpectBody(second.Bytes())
		c.GetManifest("app", first.Digest().String()).Expect(http.StatusOK).ExpectBody(first.Bytes())
		equal(t, "tags", c.Tags("app"), []string{"sbom", "v1"})
		sameDigests(t, "referrers", c.Referrers(harness.RC, "app", image.Digest), first.Digest(), second.Digest())

		// Removing a tag removes no referrer.
		c.Delete(harness.ManifestPath("app", "sbom")).Expect(http.StatusAccepted)
		c.GetManifest("app", "sbom").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		sameDigests(t, "referrers", c.Referrers(harness.RC, "app", image.Digest), first.Digest(), second.Digest())
	})
}

func TestArtifactsAreListedOnlyInTheirRepository(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		if other := c.PushImage("other", "v1", "layer"); other.Digest != image.Digest {
			t.Fatal("the images differ")
		}
		signature := harness.ORASArtifact("signature/example").To(image)
		c.MustPush("app", "", signature)
		c.GetManifest("other", signature.Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			sameDigests(t, "its own", c.Referrers(route, "app", image.Digest), signature.Digest())
			sameDigests(t, "the other", c.Referrers(route, "other", image.Digest))
		})
	})
}

// A manifest may be read as soon as its push is answered, however large.
func TestLargestManifest(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		m := harness.ORASArtifact("sbom/example").To(image).Annotated("filling", "")
		const most = 4 << 20
		m = m.Annotated("filling", strings.Repeat("x", most-len(m.Bytes())))
		c.MustPush("app", "", m)
		c.GetManifest("app", m.Digest().String()).Expect(http.StatusOK).ExpectBody(m.Bytes())

		larger := harness.Manifest{ContentType: m.ContentType, Raw: bytes.Replace(m.Bytes(), []byte("xx"), []byte("xxx"), 1)}
		if len(larger.Raw) != most+1 {
			t.Fatal(len(larger.Raw))
		}
		c.Push("app", "", larger).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
		expectGone(t, c, "app", larger)
	})
}
