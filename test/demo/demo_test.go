// Package demo runs the walkthrough of README.md, as `make demo` does.
package demo

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// The walkthrough ends with openssl accepting the signature, whichever way the image was
// pushed.
func TestWalkthroughWithCurl(t *testing.T) {
	t.Parallel()
	walk(t, "curl")
}

func walk(t *testing.T, way string) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "./walkthrough", harness.Binary(t), way).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if !strings.HasSuffix(string(output), "\nVerified OK\n") {
		t.Errorf("the walkthrough does not end with the verified signature:\n%s", output)
	}
	if got := strings.Count(string(output), `"artifactType": "signature/example"`); got != 2 {
		t.Errorf("the signature is shown %d times, want once in the listing and once as a manifest:\n%s", got, output)
	}
}
