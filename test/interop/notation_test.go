//go:build e2e

package interop_test

import (
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestNotation(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	image := w.image("app:v1")
	subject := w.ref("app@" + image.String())
	w.run("notation", "generate", "mine")
	w.run("notation", "generate", "theirs")
	w.run("notation", "sign", "mine", subject)
	w.run("notation", "verify", "mine", subject)
	w.fails("notation", "verify", "theirs", subject)

	w.run("notation", "sign", "theirs", subject)
	signatures := w.listed("app", image)
	if len(signatures) != 2 {
		t.Errorf("two signatures were pushed, %d are listed", len(signatures))
	}
	var printed []string
	for _, signature := range signatures {
		printed = append(printed, signature.String())
	}
	expectSame(t, "the signatures that notation lists", strings.Fields(w.run("notation", "list", subject)), printed...)
	w.run("notation", "verify", "mine", subject)
	w.run("notation", "verify", "theirs", subject)
	w.expectNoFallback()
}

// TestNotationDefault signs as notation's command line does by default, with a fallback
// tag. The referrers API lists those signatures, too, beside others.
func TestNotationDefault(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	image := w.image("app:v1")
	subject := w.ref("app@" + image.String())
	w.run("notation", "generate", "mine")
	w.run("notation", "sign-tagged", "mine", subject)
	w.run("notation", "verify", "mine", subject)
	expectSame(t, "the tags", w.Client().Tags("app"), "v1", strings.Replace(image.String(), ":", "-", 1))
	w.run("notation", "sign", "mine", subject)
	if listed := w.listed("app", image); len(listed) != 2 {
		t.Errorf("two signatures were pushed, with and without a tag; %d are listed", len(listed))
	}
}
