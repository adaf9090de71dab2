package promises_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// date sets the modification time of the folder of a subject's referrers, like a file
// server with another clock.
func date(t *testing.T, r *harness.Registry, subject harness.Descriptor, changed time.Time) {
	t.Helper()
	folder := filepath.Join(r.Root, layout.Referrers("app", subject.Digest, digest.Canonical))
	if err := os.Chtimes(folder, changed, changed); err != nil {
		t.Fatal(err)
	}
}

// A push is in the very next listing of another process, however slow the file server's
// clock is, and although it only has whole seconds.
func TestClockOfTheFileServer(t *testing.T) {
	t.Parallel()
	const pushes, aSecond = 24, 6
	first := harness.Start(t, harness.Options{})
	a, b := first.Client(), beside(t, first, harness.Options{}).Client()
	image := a.PushImage("app", "v1", "layer")
	behind := time.Now().Add(-time.Minute).Truncate(time.Second)
	for i := range pushes {
		push(a, image, i, i+1)
		date(t, first, image, behind.Add(time.Duration(i/aSecond)*time.Second))
		expectListed(t, fmt.Sprintf("after push %d", i), b, image, i+1, all)
	}
}

// What was pushed after a backup was made is still listed when the backup is copied back,
// with its times, over the tree of a serving registry.
func TestBackupCopiedBack(t *testing.T) {
	t.Parallel()
	const before, after = 5, 10
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	push(c, image, 0, before)
	date(t, r, image, time.Now().Add(-time.Hour))
	for range 3 { // until the registry has no reason to expect anything new
		expectListed(t, "before the backup", c, image, before, all)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	copyTree(t, r.Root, backup)
	for i := before; i < after; i++ {
		push(c, image, i, i+1)
		copyTree(t, backup, r.Root)
		expectListed(t, fmt.Sprintf("push %d, after the backup", i), c, image, i+1, all)
		expectListed(t, fmt.Sprintf("push %d, in a registry of its own", i), beside(t, r, harness.Options{}).Client(), image, i+1, all)
	}
}

// copyTree copies a folder over another one, including the times of files and folders. It
// keeps files that only the second one has.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), "cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}
