package gc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
)

// mixedTree is a tree in which something of each kind is removed and kept. It returns
// the manifests that survive with Options.Untagged.
func mixedTree(t *tree) string {
	image := t.image("r", "image", "shared")
	t.tag("r", "v1", t.image("r", "old"))
	t.tag("r", "v1", image)
	sbom := t.artifact("r", "sbom", &image)
	t.signature("r", "sbom.sig", sbom)
	t.unlinked("r", "image.sig", image)
	untagged := t.image("r", "untagged", "shared")
	t.tag("r", "moved", untagged)
	t.untag("r", "moved")
	t.signature("r", "untagged.sig", untagged)
	t.link("r", nowhere(), t.image("r", "attached to nothing"))
	aliased := t.imageWith("r", "aliased", t.aliased("r", "by another digest"))
	t.renamed("r", "aliased, untagged", aliased)
	t.tag("r", "v2", aliased)
	t.imageWith("r", "goes", t.aliased("r", "by another digest that goes"))
	t.image("s", "image")
	t.artifact("s", "sbom of nothing", &image)
	t.blob("s", "not used")
	return "aliased image image.sig sbom sbom.sig"
}

// A run is interrupted at each of its storage operations in turn, before and after the
// operation took effect. What survives in the end can be pulled all the time, with its
// referrers, and the next run has the same result.
func TestKilledAnywhere(t *testing.T) {
	for name, options := range map[string]Options{
		"untagged": {Untagged: true}, "dangling": {Dangling: true},
		"retention": {Retain: rulesOf(t, `rules: [{repositories: ["**"], keep: {matching: [v2]}}]`)},
	} {
		for _, concurrency := range []int{1, 8} {
			for _, takesEffect := range []bool{false, true} {
				t.Run(fmt.Sprint(name, "/", concurrency, "/", takesEffect), func(t *testing.T) {
					options := options
					options.Concurrency = concurrency
					killEverywhere(t, options, takesEffect)
				})
			}
		}
	}
}

func killEverywhere(t *testing.T, options Options, takesEffect bool) {
	t.Helper()
	start := newTree(t, inmemory.New())
	mixedTree(start)
	before := files(t, start.driver)
	whole := copyTo(t, before, inmemory.New())
	counted := newCounter()
	collect(t, hooked{whole, counted.count}, options)
	end := files(t, whole)
	for at := 1; at <= counted.total(); at += sparse {
		driver := copyTo(t, before, inmemory.New())
		_, err := tryCollect(context.Background(), hooked{driver, killAt(driver, at, takesEffect)}, options)
		if err == nil && !takesEffect {
			t.Fatalf("killed at %d of %d, the run says that all went well", at, counted.total())
		}
		killed := files(t, driver)
		for _, revision := range revisions(end) {
			repo, d, _ := strings.Cut(revision, "@")
			if err := pull(killed, repo, digest.Digest(d), map[string]bool{}); err != nil {
				t.Fatalf("killed at %d: %v", at, err)
			}
		}
		for file, content := range end {
			if killed[file] != content {
				t.Fatalf("killed at %d: %s is missing", at, file)
			}
		}
		collect(t, driver, options)
		if after := files(t, driver); !maps.Equal(after, end) {
			t.Fatalf("killed at %d, the next run leaves %v", at, difference(after, end))
		}
	}
}

// killAt is a hook that fails the operation of that number and all later ones. With
// takesEffect, a deletion of that number happens, unseen by the run.
func killAt(driver storagedriver.StorageDriver, at int, takesEffect bool) func(operation, path string) error {
	var mu sync.Mutex
	n := 0
	return func(operation, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n < at {
			return nil
		}
		if n == at && takesEffect && operation == "delete" {
			_ = driver.Delete(context.Background(), path)
		}
		return errors.New("killed")
	}
}

func difference(a, b map[string]string) (list []string) {
	for _, file := range keys(a) {
		if _, in := b[file]; !in {
			list = append(list, "+"+file)
		}
	}
	for _, file := range keys(b) {
		if _, in := a[file]; !in {
			list = append(list, "-"+file)
		}
	}
	return list
}

// age sets the time of all files and folders of a disk.
func age(t *testing.T, d disk, by time.Duration) {
	t.Helper()
	when := time.Now().Add(-by)
	err := filepath.WalkDir(d.root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, when, when)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOlderThan(t *testing.T) {
	driver := newDisk(t.TempDir())
	tree := newTree(t, driver)
	tree.image("r", "old")
	tree.signature("r", "old signature", nowhere())
	oldBlob := tree.blob("r", "an old blob that is needed again")
	aliased := tree.aliased("r", "an old blob with an alias")
	tree.tag("r", "v1", tree.image("r", "tagged"))
	age(t, driver, 2*time.Hour)

	// Pushes in flight: a manifest that is not tagged yet, a referrer before its
	// subject, a blob before its manifest, and an old blob before its manifest.
	tree.image("r", "new")
	tree.signature("r", "new signature", v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("soon"), Size: 4})
	newBlob := tree.blob("r", "a new blob")
	tree.write(layout.LayerLink("r", oldBlob.Digest), oldBlob.Digest.String())
	stored := digest.FromString("an old blob with an alias")
	tree.write(layout.LayerLink("r", aliased.Digest), stored.String())

	options := Options{Untagged: true, OlderThan: time.Hour}
	collect(t, driver, options)
	all := files(t, driver)
	for _, d := range []digest.Digest{newBlob.Digest, oldBlob.Digest, stored} {
		if all[layout.BlobData(d)] == "" || all[layout.LayerLink("r", d)] == "" {
			t.Errorf("the blob %s of a push in flight is gone", d)
		}
	}
	var left []string
	for _, revision := range revisions(all) {
		left = append(left, tree.names[revision])
	}
	slices.Sort(left)
	if got := strings.Join(left, ", "); got != "new, new signature, tagged" {
		t.Errorf("the manifests left are %s", got)
	}

	age(t, driver, 2*time.Hour)
	collect(t, driver, options)
	if got := tree.survivors(); got != "tagged" {
		t.Errorf("with all of them old, %s are left", got)
	}
}

// What is pushed during a run is kept, even without OlderThan.
func TestPushedMeanwhile(t *testing.T) {
	for _, moment := range []string{layout.Subjects("r"), layout.Tags("r"), layout.Revisions("r"), layout.Layers("r"), layout.Blobs} {
		t.Run(moment, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { pushMeanwhile(t, moment) }) })
	}
}

// pushMeanwhile pushes when a run comes to a path. It runs in a synctest bubble.
func pushMeanwhile(t *testing.T, moment string) {
	t.Helper()
	tree := newTree(t, inmemory.New())
	tree.image("r", "untagged")
	tagged := tree.image("r", "tagged")
	tree.tag("r", "v1", tagged)
	tree.signature("r", "first", tagged)
	time.Sleep(time.Second)
	var pushed v1.Descriptor
	collect(t, hooked{tree.driver, func(_, path string) error {
		time.Sleep(time.Millisecond)
		if path == moment && pushed.Digest == "" {
			pushed = tree.image("r", "pushed")
			tree.signature("r", "signature", tagged)
		}
		return nil
	}}, Options{Untagged: true})
	if err := pull(files(t, tree.driver), "r", pushed.Digest, map[string]bool{}); err != nil {
		t.Error(err)
	}
	if n := countOf(files(t, tree.driver), layout.Subject("r", tagged.Digest)); n != 2 {
		t.Errorf("%d links to the tagged image are left, want 2", n)
	}
	collect(t, tree.driver, Options{})
	if got := tree.survivors(); got != "first pushed signature tagged" {
		t.Errorf("%s are left", got)
	}
}
