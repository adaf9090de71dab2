//go:build e2e

package backends_test

import "testing"

func TestS3WithRedis(t *testing.T) {
	use(t, "s3", "redis")
	if !*everywhere {
		t.Run("black box", blackbox)
	}
	suite(t, "redis", moreThanAPage)
}

// Azurite takes its time, and lists 5,000 in a page.
func TestAzure(t *testing.T) {
	use(t, "azure")
	suite(t, "inmemory", 200)
}

// fake-gcs-server takes the longer the more it holds.
func TestGCS(t *testing.T) {
	use(t, "gcs")
	suite(t, "inmemory", 100)
}
