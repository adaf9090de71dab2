// Package demo runs the walkthrough of docs/walkthrough.md, as `make demo` does.
package demo

import (
	"os"
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

// Pasted into bash, it prints what it should and nothing else.
func TestWalkthroughPastedIntoBash(t *testing.T) {
	t.Parallel()
	paste(t, "bash", "--norc", "--noprofile", "-o", "history", "-o", "histexpand", "-s")
}

// walk runs the walkthrough and checks what it shows.
func walk(t *testing.T, way string, shell ...string) (stderr string) {
	t.Helper()
	for _, file := range []string{"walkthrough", "../../docs/walkthrough.md"} { // go test does not cache the result if they change
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "./walkthrough", append([]string{harness.Binary(t), way}, shell...)...)
	var stdout, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), errs.String())
	}
	if !strings.HasSuffix(stdout.String(), "Verified OK\n") {
		t.Errorf("the walkthrough does not end with the verified signature:\n%s%s", stdout.String(), errs.String())
	}
	if got := strings.Count(stdout.String(), `"artifactType": "signature/example"`); got != 2 {
		t.Errorf("the signature is shown %d times, want once in the listing and once as a manifest:\n%s", got, stdout.String())
	}
	return errs.String()
}

// paste runs the walkthrough in a shell that reads the commands as if they were typed.
func paste(t *testing.T, shell ...string) {
	t.Helper()
	if noise := walk(t, "curl", shell...); noise != "" {
		t.Errorf("%s\nsays, beside the output of the commands:\n%s", strings.Join(shell, " "), noise)
	}
}
