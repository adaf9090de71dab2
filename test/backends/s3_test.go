//go:build !e2e

// With e2e, TestS3WithRedis does all of this.

package backends_test

import "testing"

func TestS3(t *testing.T) {
	use(t, "s3")
	suite(t, "inmemory", moreThanAPage)
}
