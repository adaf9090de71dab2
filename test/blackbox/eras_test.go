package blackbox_test

import (
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// By default, the OCI route lists no ORAS artifact manifests, which current clients
// cannot read; the ORAS routes list nothing else. Both can be pulled.
func TestClientsOfTwoEras(t *testing.T) {
	t.Parallel()
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			c := harness.Start(t, harness.Options{Driver: driver, Config: "extensions: {oci: {orasartifacts: null}}"}).Client()
			image := c.PushImage("app", "v1", "layer")
			blob := c.PushBlob("app", []byte("{}"))
			old := harness.ORASArtifact("signature/example").To(image)
			today := harness.OCIImage(blob, blob).Typed("signature/example").To(image)
			c.MustPush("app", "", old)
			c.MustPush("app", "", today)
			sameDigests(t, "OCI", c.Referrers(harness.OCI, "app", image.Digest), today.Digest())
			sameDigests(t, "draft.1", c.Referrers(harness.Draft1, "app", image.Digest), old.Digest())
			sameDigests(t, "rc", c.Referrers(harness.RC, "app", image.Digest), old.Digest())
			expectPulled(c, "", old)
			expectPulled(c, "", today)
		})
	}
}
