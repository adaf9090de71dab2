//go:build e2e

package backends_test

import (
	"flag"
	"testing"
)

// everywhere adds the black-box suite on GCS, which takes long.
var everywhere = flag.Bool("backends.everywhere", false, "run the black-box suite on each of the backends")

func TestS3WithRedis(t *testing.T) {
	use(t, "s3", "redis")
	t.Run("black box", blackbox)
	suite(t, "redis", moreThanAPage)
}

// Azurite takes its time, and lists 5,000 in a page.
func TestAzure(t *testing.T) {
	use(t, "azure")
	t.Run("black box", blackbox)
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
