//go:build e2e

package demo

import (
	"os/exec"
	"testing"
)

// Pasted into zsh, the default shell of macOS, it prints what it should and nothing else.
// An interactive zsh knows no comments, expands globs, and fails on one without a match.
func TestWalkthroughPastedIntoZsh(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("zsh"); err != nil {
		t.Fatalf("%v: install it (Debian: apt-get install zsh, see test/e2e/install)", err)
	}
	paste(t, "env", "PS1=", "PS2=", "zsh", "-f", "-i", "+o", "prompt_sp")
}
