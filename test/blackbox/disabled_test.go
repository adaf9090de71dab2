package blackbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// artifactKinds are the manifest types of the extensions.
var artifactKinds = map[string]func(artifactType string, blobs ...harness.Descriptor) harness.Manifest{
	"oras": harness.ORASArtifact, "oci": harness.OCIArtifact,
}

// Manifests that were pushed while an extension was enabled can be pulled and are
// collected as before when it is disabled. They are not listed, and cannot be pushed.
func TestManifestsOfDisabledExtensions(t *testing.T) {
	for _, enabled := range []map[string]bool{{"oci": true}, {"oras": true}, {}} {
		config := fmt.Sprintf("extensions: {oras: {enabled: %v}, oci: {enabled: %v}}", enabled["oras"], enabled["oci"])
		t.Run(config, func(t *testing.T) {
			t.Parallel()
			on := harness.Start(t, harness.Options{Driver: harness.SharedDriver()})
			c := on.Client()
			image, loose := c.PushImage("app", "v1", "layer"), c.PushImage("app", "", "untagged")
			signature := harness.OCIImage(emptyConfig(c, "app", harness.MediaTypeOCIConfig)).To(image)
			c.MustPush("app", "", signature)
			stored, garbage := map[string]harness.Manifest{}, map[string]harness.Manifest{}
			for extension, kind := range artifactKinds {
				stored[extension] = kind("sbom/"+extension, c.PushBlob("app", []byte("blob of "+extension))).To(image)
				garbage[extension] = kind("sbom/" + extension).To(loose)
				c.MustPush("app", extension, stored[extension])
				c.MustPush("app", "", garbage[extension])
			}
			if err := on.Stop(); err != nil {
				t.Fatal(err)
			}

			off := harness.Start(t, harness.Options{Driver: harness.SharedDriver(), Root: on.Root, Config: config})
			c = off.Client()
			for extension, m := range stored {
				expectPulled(c, extension, m)
				expectPulled(c, "", garbage[extension])
				expectTaken(t, c, enabled[extension], extension, artifactKinds[extension]("new/"+extension).To(image))
				expectTaken(t, c, enabled[extension], extension, m)
			}
			listed := []digest.Digest{signature.Digest()}
			for extension := range enabled {
				listed = append(listed, stored[extension].Digest(), artifactKinds[extension]("new/"+extension).To(image).Digest())
			}
			if enabled["oci"] {
				sameDigests(t, "OCI referrers", c.Referrers(harness.OCI, "app", image.Digest), listed...)
			}
			if enabled["oras"] {
				sameDigests(t, "ORAS referrers", c.Referrers(harness.RC, "app", image.Digest), listed[1:]...)
			}
			if err := off.Stop(); err != nil {
				t.Fatal(err)
			}

			if result := harness.Run(t, "garbage-collect", "-m", off.Config); result.Exit != 0 {
				t.Fatalf("garbage-collect: %+v", result)
			}
			off.Restart()
			c = off.Client()
			for extension, m := range stored {
				expectPulled(c, extension, m)
				c.GetManifest("app", garbage[extension].Digest().String()).Expect(http.StatusNotFound)
			}
			on.Restart()
			for extension, m := range stored {
				if !enabled[extension] {
					listed = append(listed, m.Digest())
				}
			}
			sameDigests(t, "referrers when all is enabled again", on.Client().Referrers(harness.OCI, "app", image.Digest), listed...)
		})
	}
}

// expectPulled expects a manifest to be pulled by its digest and by a tag, if there
// is one, with its blobs.
func expectPulled(c *harness.Client, tag string, m harness.Manifest) {
	for _, reference := range []string{m.Digest().String(), tag} {
		if reference == "" {
			continue
		}
		path := harness.ManifestPath("app", reference)
		for _, resp := range []*harness.Response{c.Get(path), c.Get(path, harness.AcceptAll), c.Head(path)} {
			resp.Expect(http.StatusOK).ExpectHeader("Content-Type", m.ContentType).ExpectLength(len(m.Bytes()))
			resp.ExpectHeader("Docker-Content-Digest", m.Digest().String())
			if resp.Request.Method == http.MethodGet {
				resp.ExpectBody(m.Bytes())
			}
		}
	}
	for _, blob := range m.Blobs {
		c.Get(harness.BlobPath("app", blob.Digest)).Expect(http.StatusOK)
	}
}

// expectTaken expects the push of a manifest to succeed if its extension is enabled, and
// to be refused without leaving anything behind if it is not.
func expectTaken(t *testing.T, c *harness.Client, enabled bool, extension string, m harness.Manifest) {
	t.Helper()
	if enabled {
		c.MustPush("app", "", m)
		return
	}
	before := c.GetManifest("app", m.Digest().String()).Status
	for _, reference := range []string{"", "refused"} {
		resp := c.Push("app", reference, m).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
		problems := resp.Problems()
		if len(problems) != 1 || problems[0].Field != "mediaType" || !strings.Contains(problems[0].Reason, m.ContentType) ||
			!strings.Contains(problems[0].Reason, "extensions."+extension+".enabled") {
			t.Errorf("the refusal does not say why: %s", resp)
		}
	}
	c.GetManifest("app", "refused").Expect(http.StatusNotFound)
	c.GetManifest("app", m.Digest().String()).Expect(before)
}

// A pull-through cache stores what is pulled, including types that cannot be pushed.
func TestPullThroughDisabledExtensions(t *testing.T) {
	origin := harness.Start(t, harness.Options{Driver: harness.InMemory}).Client()
	m := harness.ORASArtifact("sbom/example", origin.PushBlob("app", []byte("blob")))
	origin.MustPush("app", "v1", m)
	for _, readOnly := range []string{"false", "true"} { // which is about pushes
		cache := harness.Start(t, harness.Options{
			Driver: harness.InMemory, Config: "proxy: {remoteurl: '" + origin.URL + "'}\nextensions: {oras: {enabled: false}}\n" +
				"storage: {maintenance: {readonly: {enabled: " + readOnly + "}}}",
		})
		for range 2 {
			expectPulled(cache.Client(), "v1", m)
		}
	}
}
