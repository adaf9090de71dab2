package blackbox_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestSubjectIsAnswered(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image, kinds := everyKind(c, "app")
		for i, kind := range kinds {
			tag := "tag" + string(rune('a'+i))
			for _, reference := range []string{"", tag, ""} {
				resp := c.Push("app", reference, kind.manifest).Expect(http.StatusCreated)
				if kind.manifest.Subject != nil {
					resp.ExpectHeader("OCI-Subject", image.Digest.String())
				} else {
					resp.ExpectNoHeader("OCI-Subject")
				}
			}
		}
	})
}

// The subject of an image or index need not exist yet, and need not be an OCI manifest.
func TestSubjectThatComesLater(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		config := emptyConfig(c, "app", harness.MediaTypeDockerConfig)
		layer := c.PushBlob("app", []byte("layer"))
		layer.MediaType = harness.MediaTypeDockerLayer
		later := harness.DockerImage(config, layer)
		image := harness.OCIImage(config).To(later.Descriptor()).Typed("signature/example")
		index := harness.OCIIndex().To(later.Descriptor()).Typed("index/example")
		artifact := harness.OCIArtifact("oci/artifact").To(later.Descriptor())
		for _, m := range []harness.Manifest{image, index, artifact} {
			c.Push("app", "", m).Expect(http.StatusCreated).ExpectHeader("OCI-Subject", later.Digest().String())
		}
		sameDigests(t, "before the subject is there", c.Referrers(harness.OCI, "app", later.Digest()),
			image.Digest(), index.Digest(), artifact.Digest())
		c.MustPush("app", "v1", later)
		sameDigests(t, "with the subject", c.Referrers(harness.OCI, "app", later.Digest()),
			image.Digest(), index.Digest(), artifact.Digest())
		// ORAS clients are shown what they can read.
		sameDigests(t, "draft.1", c.Referrers(harness.Draft1, "app", later.Digest()))
	})
}

func TestSubjectOfAnotherAlgorithm(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		config := emptyConfig(c, "app", harness.MediaTypeOCIConfig)
		subject := harness.Descriptor{MediaType: harness.MediaTypeOCIImage, Size: 7}
		subject.Digest = "sha512:" + subject.Digest
		for range 64 {
			subject.Digest += "ab"
		}
		m := harness.OCIImage(config).To(subject)
		c.Push("app", "", m).Expect(http.StatusCreated).ExpectHeader("OCI-Subject", subject.Digest.String())
		sameDigests(t, "referrers", c.Referrers(harness.OCI, "app", subject.Digest), m.Digest())
	})
}

func TestSubjectThatIsNoDescriptor(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		config := emptyConfig(c, "app", harness.MediaTypeOCIConfig)
		d := image.Digest.String()
		for _, m := range []harness.Manifest{harness.OCIImage(config), harness.OCIIndex()} {
			for subject, field := range map[string]string{
				`"` + d + `"`: "subject", `[]`: "subject", `7`: "subject",
				`{}`:                              "subject.digest",
				`{"mediaType":"a/b","size":7}`:    "subject.digest",
				`{"digest":"` + d + `","size":7}`: "subject.mediaType",
				`{"mediaType":"a/b","digest":"sha256:12","size":7}`:              "subject.digest",
				`{"mediaType":"a/b","digest":"` + d + `"}`:                       "subject.size",
				`{"mediaType":"a/b","digest":"` + d + `","size":-1}`:             "subject.size",
				`{"mediaType":"a/b","digest":"` + d + `","size":"7"}`:            "subject.size",
				`{"mediaType":"a/b","digest":"../../../../etc/passwd","size":1}`: "subject.digest",
			} {
				bad := m
				bad.Raw = []byte(strings.TrimSuffix(string(m.Bytes()), "}") + `,"subject":` + subject + "}")
				resp := c.Push("app", "", bad).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
				// Distribution refuses first what it cannot decode itself.
				if problems := resp.Problems(); len(problems) > 0 {
					named := false
					for _, problem := range problems {
						named = named || problem.Field == field
					}
					if !named {
						t.Errorf("subject %s: %s is not named: %s", subject, field, resp)
					}
				}
				expectGone(t, c, "app", bad)
			}
		}
		// null means no subject.
		none := harness.OCIImage(config)
		none.Raw = []byte(strings.TrimSuffix(string(none.Bytes()), "}") + `,"subject":null}`)
		c.Push("app", "", none).Expect(http.StatusCreated).ExpectNoHeader("OCI-Subject")
	})
}

func TestChains(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		sbom := harness.ORASArtifact("sbom/example", c.PushBlob("app", []byte("sbom"))).To(image)
		signature := harness.ORASArtifact("signature/example", c.PushBlob("app", []byte("signature"))).To(sbom.Descriptor())
		ofSignature := harness.OCIImage(emptyConfig(c, "app", "application/vnd.example")).To(signature.Descriptor())
		for _, m := range []harness.Manifest{sbom, signature, ofSignature} {
			c.MustPush("app", "", m)
		}
		sameDigests(t, "image", c.Referrers(harness.OCI, "app", image.Digest), sbom.Digest())
		sameDigests(t, "sbom", c.Referrers(harness.Draft1, "app", sbom.Digest()), signature.Digest())
		sameDigests(t, "signature", c.Referrers(harness.OCI, "app", signature.Digest()), ofSignature.Digest())

		// A manifest in the middle can be deleted; its referrers stay, and are listed.
		c.DeleteManifest("app", sbom.Digest())
		sameDigests(t, "image", c.Referrers(harness.OCI, "app", image.Digest))
		sameDigests(t, "sbom", c.Referrers(harness.RC, "app", sbom.Digest()), signature.Digest())
		c.GetManifest("app", signature.Digest().String()).Expect(http.StatusOK)
	})
}

func TestDeletedManifestsLeaveEveryListingAtOnce(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image, kinds := everyKind(c, "app")
		for range 2 { // and again, after they have come back
			for _, kind := range kinds {
				c.MustPush("app", "tag", kind.manifest)
				before := c.Referrers(harness.OCI, "app", image.Digest)
				if kind.manifest.Subject != nil && len(before) != 1 {
					t.Errorf("%s is not listed: %v", kind.name, before)
				}
				c.DeleteManifest("app", kind.manifest.Digest())
				expectGone(t, c, "app", kind.manifest)
				c.GetManifest("app", "tag").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
				onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
					sameDigests(t, kind.name, c.Referrers(route, "app", image.Digest))
				})
				c.Delete(harness.ManifestPath("app", kind.manifest.Digest().String())).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
			}
		}
	})
}

// Deleting a subject leaves its referrers, which can be listed and deleted.
func TestDeletedSubject(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		signature := harness.ORASArtifact("signature/example").To(image)
		c.MustPush("app", "", signature)
		c.DeleteManifest("app", image.Digest)
		sameDigests(t, "referrers", c.Referrers(harness.OCI, "app", image.Digest), signature.Digest())
		c.Push("app", "", signature.Annotated("late", "yes")).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
		c.DeleteManifest("app", signature.Digest())
		sameDigests(t, "referrers", c.Referrers(harness.OCI, "app", image.Digest))
	})
}
