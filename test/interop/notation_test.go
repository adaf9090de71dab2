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
