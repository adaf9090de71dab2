package gc

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
)

// What a run has left of a tag that was killed while it removed it goes with the next run:
// clients would list it. What a push may just be making stays.
func TestRestsOfTags(t *testing.T) {
	tree := newTree(t, newDisk(t.TempDir()))
	for _, tag := range []string{"kept", "half", "empty", "new"} {
		tree.setAgo("r", tag, tree.image("r", tag), 2*time.Hour)
	}
	for _, tag := range []string{"half", "empty", "new"} {
		tree.remove(path.Dir(layout.TagCurrent("r", tag)))
	}
	tree.remove(layout.TagIndex("r", "empty"))
	old := time.Now().Add(-2 * time.Hour)
	for _, folder := range []string{"half", "empty"} {
		err := filepath.Walk(filepath.Join(tree.driver.(disk).root, layout.Tag("r", folder)), func(file string, _ os.FileInfo, err error) error {
			return errors.Join(err, os.Chtimes(file, old, old))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	collect(t, tree.driver, Options{Retain: keeping(t, "keep: {newest: 1}"), OlderThan: time.Hour})
	left, err := tree.driver.List(context.Background(), layout.Tags("r"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = path.Base(left[i])
	}
	if got := strings.Join(left, " "); got != "kept new" && got != "new kept" {
		t.Errorf("these tags are left: %s", got)
	}
}

// A storage that is full does not keep rules from freeing it, and what was left of an earlier
// attempt to write goes.
func TestRetentionOnAFullStorage(t *testing.T) {
	tree := newTree(t, newDisk(t.TempDir()))
	tree.setAgo("r", "v1", tree.image("r", "one"), time.Hour)
	tree.setAgo("r", "v2", tree.image("r", "two"), time.Minute)
	tree.link("r", tree.image("r", "subject"), tree.image("r", "referrer"))
	rest := layout.Released("r") + ".0b5c6bd2-3f6b-4a83-9a54-6e0b8f4f1d11.tmp"
	tree.write(rest, "cut off")
	full := errors.New("no space left on device")
	driver := hooked{tree.driver, func(operation, _ string) error {
		if operation == "write" {
			return full
		}
		return nil
	}}
	report, err := Collect(context.Background(), driver, Options{Retain: keeping(t, "keep: {newest: 1}")})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), " in r ") {
		t.Errorf("the error is %v", err)
	}
	if got := tree.tags(); got != "v2" || report.Manifests.Removed != 1 || report.Blobs.Removed == 0 {
		t.Errorf("%q stay, %+v", got, report)
	}
	if _, there := files(t, tree.driver)[rest]; there {
		t.Errorf("%s is still there", rest)
	}
}
