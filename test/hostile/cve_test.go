package hostile_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// A registry that trusts the page size in a request allocates as much.
func TestCVE_2023_2253_UnboundedPageSize(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	c.MustPush("app", "", harness.ORASArtifact("a/b").To(image))
	idle := r.Memory()
	for _, n := range []string{"100000000", "2147483647", "2147483648", "9223372036854775807", "18446744073709551615", strings.Repeat("9", 400)} {
		for _, path := range []string{"/v2/_catalog?n=" + n, "/v2/app/tags/list?n=" + n} {
			if resp := c.Get(path); resp.Status >= 500 {
				t.Errorf("%s", resp)
			}
		}
		for _, route := range harness.Routes() {
			if found := c.Referrers(route, "app", image.Digest, "n", n); len(found) != 1 {
				t.Errorf("n=%s: %d are listed", n, len(found))
			}
		}
	}
	if grown := r.Memory() - idle; grown > harness.MiB(64) {
		t.Errorf("%d bytes more in use", grown)
	}
}

// Bytes that are one kind of manifest to one reader and another to the next.
func TestCVE_2021_41190_TypeConfusion(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	image := c.PushImage("app", "v1", "layer")
	config := c.PushBlob("app", []byte("{}"))
	member := func(name string, d harness.Descriptor, list bool) string {
		text := fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":%d}`, d.Digest, d.Size)
		if list {
			text = "[" + text + "]"
		}
		return fmt.Sprintf(`,%q:%s`, name, text)
	}
	both := member("config", config, false) + member("layers", config, true) + member("manifests", image, true)
	ambiguous := map[string]string{
		"image and index":        `{"schemaVersion":2` + both + `}`,
		"image, index, artifact": `{"schemaVersion":2,"artifactType":"a/b"` + both + member("blobs", config, true) + member("subject", image, false) + `}`,
		"artifact and image":     `{"artifactType":"a/b"` + member("config", config, false) + member("layers", config, true) + `}`,
		"artifact and index":     `{"artifactType":"a/b"` + member("manifests", image, true) + `}`,
	}
	for name, body := range ambiguous {
		for _, contentType := range []string{
			harness.MediaTypeOCIImage, harness.MediaTypeOCIIndex, harness.MediaTypeORASArtifact, harness.MediaTypeOCIArtifact,
			harness.MediaTypeDockerManifest, harness.MediaTypeDockerList, "", "application/json",
		} {
			m := harness.Manifest{ContentType: contentType, Raw: []byte(body)}
			if resp := c.Push("app", "", m); resp.Status < 400 {
				t.Errorf("%s as %q: %s", name, contentType, resp)
			}
			c.GetManifest("app", m.Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		}
	}

	// A manifest that was pushed as one kind is never served or listed as another.
	draft := harness.Manifest{
		ContentType: harness.MediaTypeORASArtifact,
		Raw:         []byte(`{"artifactType":"a/b"` + member("blobs", config, true) + member("subject", image, false) + `}`),
	}
	c.MustPush("app", "", draft)
	for _, contentType := range []string{harness.MediaTypeOCIArtifact, harness.MediaTypeOCIImage, harness.MediaTypeOCIIndex} {
		other := draft
		other.ContentType = contentType
		if resp := c.Push("app", "", other); resp.Status < 400 {
			t.Errorf("an ORAS artifact as %s: %s", contentType, resp)
		}
	}
	for _, accept := range []string{harness.AcceptAll, "Accept: " + harness.MediaTypeOCIImage, "Accept: " + harness.MediaTypeOCIArtifact} {
		c.Get(harness.ManifestPath("app", draft.Digest().String()), accept).Expect(http.StatusOK).
			ExpectHeader("Content-Type", harness.MediaTypeORASArtifact).ExpectBody(draft.Bytes())
	}
	for _, entry := range c.Referrers(harness.OCI, "app", image.Digest) {
		if entry.Digest != draft.Digest() || entry.MediaType != harness.MediaTypeORASArtifact {
			t.Errorf("listed: %v", entry)
		}
	}
}

// A descriptor cache that another repository fills must not bring back what was deleted
// in this one.
func TestCVE_2026_35172_CacheThatResurrects(t *testing.T) {
	r := harness.Start(t, harness.Options{Config: "storage: {cache: {blobdescriptor: inmemory}}"})
	c := r.Client()
	var blob, image harness.Descriptor
	var signature harness.Manifest
	for _, repository := range []string{"one", "two"} {
		image = c.PushImage(repository, "v1", "layer")
		blob = c.PushBlob(repository, []byte("a signature"))
		signature = harness.ORASArtifact("a/b", blob).To(image)
		c.MustPush(repository, "signature", signature)
		c.Get(harness.BlobPath(repository, blob.Digest)).Expect(http.StatusOK)
		c.GetManifest(repository, "signature").Expect(http.StatusOK)
	}
	c.DeleteManifest("one", signature.Digest())
	c.DeleteManifest("one", image.Digest)
	c.Delete(harness.BlobPath("one", blob.Digest)).Expect(http.StatusAccepted)
	for range 3 {
		c.GetManifest("two", signature.Digest().String()).Expect(http.StatusOK)
		c.GetManifest("two", image.Digest.String()).Expect(http.StatusOK)
		c.Head(harness.BlobPath("two", blob.Digest)).Expect(http.StatusOK)
		for _, path := range []string{
			harness.ManifestPath("one", signature.Digest().String()), harness.ManifestPath("one", image.Digest.String()),
			harness.ManifestPath("one", "v1"), harness.BlobPath("one", blob.Digest),
			"/oras/artifacts/v1/one/manifests/" + signature.Digest().String(),
		} {
			c.Get(path, harness.AcceptAll).Expect(http.StatusNotFound)
			c.Head(path, harness.AcceptAll).Expect(http.StatusNotFound)
		}
		for _, route := range harness.Routes() {
			if found := c.Referrers(route, "one", image.Digest); len(found) != 0 {
				t.Errorf("%s lists %v", route.Name, found)
			}
			if found := c.Referrers(route, "two", image.Digest); len(found) != 1 {
				t.Errorf("%s lists %v in the other repository", route.Name, found)
			}
		}
		// Nor may it be accepted as an existing subject or blob.
		c.Push("one", "", signature).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
	}
}

// Disabling deletes disables them for everything that can be deleted.
func TestCVE_2026_41888_DeletionThatIgnoresTheSwitch(t *testing.T) {
	for name, config := range map[string]string{
		"off":       "storage: {delete: {enabled: false}}",
		"not said":  "storage: {delete: null}",
		"read-only": "storage: {delete: {enabled: true}, maintenance: {readonly: {enabled: true}}}",
	} {
		t.Run(name, func(t *testing.T) {
			filling := harness.Start(t, harness.Options{})
			c := filling.Client()
			image := c.PushImage("app", "v1", "layer")
			blob := c.PushBlob("app", []byte("a signature"))
			signature := harness.ORASArtifact("a/b", blob).To(image)
			c.MustPush("app", "signature", signature)
			_ = filling.Stop()
			before := files(t, filling.Root)

			c = harness.Start(t, harness.Options{Root: filling.Root, Config: config}).Client()
			d := signature.Digest().String()
			for _, path := range []string{
				harness.ManifestPath("app", d), harness.ManifestPath("app", "signature"), harness.ManifestPath("app", image.Digest.String()),
				harness.BlobPath("app", blob.Digest), "/oras/artifacts/v1/app/manifests/" + d,
				harness.OCI.Path("app", image.Digest), harness.Draft1.Path("app", image.Digest),
			} {
				c.Delete(path).Expect(http.StatusMethodNotAllowed)
			}
			for _, route := range harness.Routes() {
				if found := c.Referrers(route, "app", image.Digest); len(found) != 1 {
					t.Errorf("%s lists %v", route.Name, found)
				}
			}
			c.GetManifest("app", "signature").Expect(http.StatusOK)
			sameFiles(t, filling.Root, before)
		})
	}
}

// Knowing a digest gives no access to the content in another repository, whatever is
// cached.
func TestCVE_2024_39897_ReadingAcrossRepositories(t *testing.T) {
	issuer := harness.NewTokenIssuer(t)
	r := harness.Start(t, harness.Options{Config: issuer.Config + "\nstorage: {cache: {blobdescriptor: inmemory}}"})
	owner := r.Client().With(issuer.Bearer(harness.Repository("theirs", "pull", "push")))
	image := owner.PushImage("theirs", "v1", "layer")
	blob := owner.PushBlob("theirs", []byte("a secret"))
	signature := harness.ORASArtifact("a/b", blob).To(image)
	owner.MustPush("theirs", "signature", signature)
	owner.Get(harness.BlobPath("theirs", blob.Digest)).Expect(http.StatusOK)
	owner.GetManifest("theirs", "signature").Expect(http.StatusOK)
	owner.Referrers(harness.OCI, "theirs", image.Digest)

	c := r.Client().With(issuer.Bearer(harness.Repository("mine", "pull", "push", "delete")))
	c.Head(harness.BlobPath("mine", blob.Digest)).Expect(http.StatusNotFound)
	c.Get(harness.BlobPath("mine", blob.Digest)).Expect(http.StatusNotFound)
	c.GetManifest("mine", signature.Digest().String()).Expect(http.StatusNotFound)
	c.Get("/oras/artifacts/v1/mine/manifests/" + signature.Digest().String()).Expect(http.StatusNotFound)
	c.Push("mine", "", harness.OCIArtifact("a/b", blob)).ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	for _, route := range harness.Routes() {
		if found := c.Referrers(route, "mine", image.Digest); len(found) != 0 {
			t.Errorf("%s lists %v", route.Name, found)
		}
	}
	c.Send(http.MethodPost, "/v2/mine/blobs/uploads/?mount="+blob.Digest.String()+"&from=theirs", nil).Expect(http.StatusUnauthorized)
	// A mount that does not name a source repository is an upload like any other.
	c.Send(http.MethodPost, "/v2/mine/blobs/uploads/?mount="+blob.Digest.String(), nil).Expect(http.StatusAccepted)
	c.Get(harness.BlobPath("mine", blob.Digest)).Expect(http.StatusNotFound)
}

// Referrers that refer to one another: digests make that impossible for subjects, but
// the referrers-tag indexes of old clients can contain it.
func TestCVE_2026_55588_LoopsOfReferrers(t *testing.T) {
	r := harness.Start(t, harness.Options{Binary: harness.StockBinary(t)})
	c := r.Client()
	const ring = 14
	var images []harness.Descriptor
	for i := range ring {
		images = append(images, c.PushImage("app", "", fmt.Sprint("layer ", i)))
	}
	for _, image := range images { // everything is attached to everything, and to itself
		c.MustPush("app", strings.Replace(image.Digest.String(), ":", "-", 1), harness.OCIIndex(images...))
	}
	c.MustPush("app", "v1", harness.OCIIndex(images[0]))

	r.RestartWith(harness.Binary(t))
	c = r.Client()
	seen := map[digest.Digest]bool{}
	for waiting := []digest.Digest{images[0].Digest}; len(waiting) > 0; waiting = waiting[1:] {
		if seen[waiting[0]] {
			continue
		}
		seen[waiting[0]] = true
		waiting = append(waiting, harness.Digests(c.Referrers(harness.OCI, "app", waiting[0]))...)
	}
	if len(seen) != ring {
		t.Errorf("%d of %d are attached", len(seen), ring)
	}
	_ = r.Stop()

	for _, args := range [][]string{
		{"referrers", "tree", r.Config, "app:v1"},
		{"referrers", "tree", r.Config, "app@" + images[3].Digest.String()},
		{"referrers", "tree", "--format", "json", r.Config, "app@" + images[3].Digest.String()},
		{"referrers", "verify", r.Config},
		{"referrers", "rebuild", r.Config},
		{"garbage-collect", "--dry-run", r.Config},
		{"garbage-collect", "--delete-untagged", r.Config},
	} {
		begun := time.Now()
		result := harness.Run(t, args...)
		if result.Exit != 0 || len(result.Stdout) > 1_000_000 {
			t.Errorf("%s: exit %d, %d bytes\n%.2000s%.2000s", strings.Join(args, " "), result.Exit, len(result.Stdout), result.Stdout, result.Stderr)
		}
		t.Logf("%s: %s", strings.Join(args[:2], " "), time.Since(begun).Round(time.Millisecond))
	}
	r.Restart()
	for _, image := range images {
		r.Client().GetManifest("app", image.Digest.String()).Expect(http.StatusOK)
	}
}
