package documents_test

import (
	"net/http"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// What the README says that it has measured of distribution.
func TestComparisonWithDistribution(t *testing.T) {
	t.Parallel()
	stock := harness.Start(t, harness.Options{Binary: harness.StockBinary(t)}).Client()
	image := stock.PushImage("app", "v1", "a layer")
	stock.Get("/v2/app/referrers/" + image.Digest.String()).Expect(http.StatusNotFound)
	stock.Push("app", "", harness.ORASArtifact("sbom/example").To(image)).Expect(http.StatusBadRequest)
}
