//go:build !e2e

package derived_test

import (
	"testing"

	"github.com/oras-distribution/registry/test/derived"
)

func TestOnAFilesystem(t *testing.T) {
	derived.Run(t, derived.Processes(t), 3, 1500)
}

func TestInMemory(t *testing.T) {
	derived.Run(t, derived.Instances(t), 3, 6000)
}
