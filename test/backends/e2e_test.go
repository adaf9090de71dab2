//go:build e2e

package backends_test

import "testing"

func TestS3WithRedis(t *testing.T) {
	use(t, "s3", "redis")
	suite(t, "redis")
}

func TestAzure(t *testing.T) {
	use(t, "azure")
	suite(t, "inmemory")
}

func TestGCS(t *testing.T) {
	use(t, "gcs")
	suite(t, "inmemory")
}
