package backends_test

import "testing"

func TestS3(t *testing.T) {
	use(t, "s3")
	suite(t, "inmemory")
}
