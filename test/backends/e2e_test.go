//go:build e2e

package backends_test

import (
	"flag"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/conformance"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/online"
	"github.com/oras-distribution/registry/test/replicas"
)

// everywhere adds the black-box suite on Azure and GCS, whose servers take long for it.
var everywhere = flag.Bool("backends.everywhere", false, "run the black-box suite on each of the backends")

var collecting = flag.Duration("backends.collecting", 30*time.Second, "how long clients push while replicas collect")

func TestS3WithRedis(t *testing.T) {
	use(t, "s3", "redis")
	t.Run("conformance", func(t *testing.T) { conform(t, "redis") })
	t.Run("black box", blackbox)
	t.Run("clients", clients)
	t.Run("mirror", mirrored)
	suite(t, "redis", moreThanAPage)
	t.Run("collections", func(t *testing.T) {
		online.Load{Replicas: 4, Clients: 8, Duration: *collecting, Pace: time.Second, Command: true, Cut: true}.Run(t)
	})
}

// conform runs the conformance suite against two replicas that share a descriptor cache.
func conform(t *testing.T, cache string) {
	for _, version := range conformance.Versions() {
		t.Run(string(version), func(t *testing.T) {
			config := harness.Configf("storage: {cache: {blobdescriptor: %s}}", cache)
			conformance.Run(t, replicas.Balance(t, replicas.Start(t, 2, harness.Options{Config: config})), version).Expect(t, version)
		})
	}
}

// Azurite takes its time, and lists 5,000 in a page.
func TestAzure(t *testing.T) {
	use(t, "azure")
	if *everywhere {
		t.Run("black box", blackbox)
	}
	suite(t, "inmemory", 200)
}

// fake-gcs-server gets slower with the size of a bucket, and does not page listings.
func TestGCS(t *testing.T) {
	use(t, "gcs")
	if *everywhere {
		t.Run("black box", blackbox)
	}
	suite(t, "inmemory", 100)
}
