package promises_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// Verify names every manifest that cannot be read, with or without a subject, and exits
// with 1, even if it may repair.
func TestVerifyNamesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	push(c, image, 0, 3)
	if sound := harness.Run(t, "referrers", "verify", r.Config); sound.Exit != 0 {
		t.Errorf("before: %+v", sound)
	}
	gone := numbered(image, 1).Digest()
	if err := os.Remove(filepath.Join(r.Root, layout.BlobData(gone))); err != nil {
		t.Fatal(err)
	}
	damaged := []digest.Digest{image.Digest, numbered(image, 0).Digest()}
	for _, d := range damaged {
		if err := os.WriteFile(filepath.Join(r.Root, layout.BlobData(d)), numbered(image, 7).Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"verify"}, {"verify", "--repair"}, {"verify"}} {
		found := harness.Run(t, append(append([]string{"referrers"}, args...), r.Config)...)
		if found.Exit != 1 {
			t.Errorf("%q exits with %d", args, found.Exit)
		}
		for _, d := range append(damaged, gone) {
			if !strings.Contains(found.Stdout, d.Encoded()) {
				t.Errorf("%q does not name %s:\n%s", args, d, found.Stdout)
			}
		}
		if sound := numbered(image, 2).Digest(); strings.Contains(found.Stdout, sound.Encoded()) {
			t.Errorf("%q finds fault with %s:\n%s", args, sound, found.Stdout)
		}
	}
}

// Four times as many faults take verify four times as long.
func TestVerifyIsLinear(t *testing.T) {
	few, many := verifyFaults(t, 10_000), verifyFaults(t, 40_000)
	t.Logf("10,000 faults take %s, 40,000 %s", few, many)
	if many > 6*few {
		t.Errorf("10,000 faults take %s of processor time, 40,000 %s", few, many)
	}
}

// verifyFaults is the processor time for verifying a tree with files that are not links,
// and with one missing link for every three of them.
func verifyFaults(t *testing.T, faults int) time.Duration {
	t.Helper()
	r := harness.Start(t, harness.Options{Config: "extensions: {referrers: {background: false}}"})
	seed := harness.NewSeed(t, r.Root, "app")
	subject := seed.Manifest(harness.OCIIndex())
	seed.Many(faults, func(i int) {
		if i%4 == 0 {
			seed.Manifest(numbered(subject, i))
		} else {
			seed.Put(fmt.Sprint(layout.Referrers("app", subject.Digest, digest.Canonical), "/stray", i), nil)
		}
	})
	found := harness.Run(t, "referrers", "verify", r.Config)
	if named := strings.Count(found.Stdout, "/_refs/subjects/"); found.Exit != 1 || named != faults {
		t.Errorf("verify exits with %d and names %d faults of %d", found.Exit, named, faults)
	}
	return found.CPU
}
