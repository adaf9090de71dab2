package gc

import (
	"context"
	"errors"
	"maps"
	"path"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
)

var errStorage = errors.New("the storage is on fire")

// damages are what can be wrong with a tree in which the repository "r" has a tagged
// image and much garbage, and "s" has an untagged image.
var damages = []struct {
	name   string
	damage func(t *tree, image, sbom v1.Descriptor) (fails string) // a path whose operations fail
	named  func(image, sbom v1.Descriptor) string                  // what the error names
	blobs  bool                                                    // it cannot be known which blobs are needed
}{
	{"manifest is no JSON", func(t *tree, _, _ v1.Descriptor) string {
		d := digest.FromString("no JSON")
		t.write(layout.BlobData(d), "no JSON")
		t.write(layout.RevisionLink("r", d), d.String())
		return ""
	}, func(_, _ v1.Descriptor) string { return digest.FromString("no JSON").String() + " in r" }, false},
	{"manifest of an unknown kind", func(t *tree, _, _ v1.Descriptor) string {
		d := digest.FromString(`{"schemaVersion":1}`)
		t.write(layout.BlobData(d), `{"schemaVersion":1}`)
		t.write(layout.RevisionLink("r", d), d.String())
		return ""
	}, func(_, _ v1.Descriptor) string { return digest.FromString(`{"schemaVersion":1}`).String() }, false},
	{"other bytes", func(t *tree, image, _ v1.Descriptor) string {
		t.write(layout.BlobData(image.Digest), `{"schemaVersion":2,"layers":[]}`)
		return ""
	}, func(image, _ v1.Descriptor) string { return image.Digest.String() }, false},
	{"no bytes", func(t *tree, _, sbom v1.Descriptor) string {
		t.remove(layout.BlobData(sbom.Digest))
		return ""
	}, func(_, sbom v1.Descriptor) string { return sbom.Digest.String() }, false},
	{"empty revision link", func(t *tree, image, _ v1.Descriptor) string {
		t.write(layout.RevisionLink("r", image.Digest), "")
		return ""
	}, func(image, _ v1.Descriptor) string { return image.Digest.String() }, false},
	{"alias of a layer that names no digest", func(t *tree, _, _ v1.Descriptor) string {
		t.write(layout.LayerLink("r", t.aliased("r", "layer").Digest), "sha256:")
		return ""
	}, func(_, _ v1.Descriptor) string { return digest.SHA512.FromString("layer").String() + " in r" }, true},
	{"alias of a layer cannot be read", func(t *tree, _, _ v1.Descriptor) string {
		return layout.LayerLink("r", t.aliased("r", "layer").Digest)
	}, func(_, _ v1.Descriptor) string { return layout.LayerLink("r", digest.SHA512.FromString("layer")) }, true},
	{"alias of a manifest that names no digest", func(t *tree, image, _ v1.Descriptor) string {
		t.write(layout.RevisionLink("r", t.renamed("r", "alias", image).Digest), "")
		return ""
	}, func(_, _ v1.Descriptor) string { return "manifest sha512:" }, true},
	{"alias of a manifest with other bytes", func(t *tree, image, sbom v1.Descriptor) string {
		t.write(layout.RevisionLink("r", t.renamed("r", "alias", image).Digest), sbom.Digest.String())
		return ""
	}, func(_, _ v1.Descriptor) string { return "manifest sha512:" }, false},
	{"revision link that holds another digest", func(t *tree, image, sbom v1.Descriptor) string {
		t.write(layout.RevisionLink("r", image.Digest), sbom.Digest.String())
		return ""
	}, func(image, _ v1.Descriptor) string { return image.Digest.String() }, false},
	{"tag that names no digest", func(t *tree, _, _ v1.Descriptor) string {
		t.write(layout.TagCurrent("r", "broken"), "sha256:")
		return ""
	}, func(_, _ v1.Descriptor) string { return "tag broken in r" }, false},
	{"revision link cannot be read", func(_ *tree, image, _ v1.Descriptor) string {
		return layout.RevisionLink("r", image.Digest)
	}, func(image, _ v1.Descriptor) string { return layout.RevisionLink("r", image.Digest) }, false},
	{
		"manifest cannot be read", func(_ *tree, image, _ v1.Descriptor) string { return layout.BlobData(image.Digest) },
		func(image, _ v1.Descriptor) string { return "reading manifest " + image.Digest.String() }, false,
	},
	{
		"tag cannot be read", func(*tree, v1.Descriptor, v1.Descriptor) string { return layout.TagCurrent("r", "v1") },
		func(v1.Descriptor, v1.Descriptor) string { return layout.TagCurrent("r", "v1") }, false,
	},
	{
		"tags cannot be listed", func(*tree, v1.Descriptor, v1.Descriptor) string { return layout.Tags("r") },
		func(v1.Descriptor, v1.Descriptor) string { return layout.Tags("r") }, false,
	},
	{
		"index cannot be listed", func(*tree, v1.Descriptor, v1.Descriptor) string { return layout.Subjects("r") },
		func(v1.Descriptor, v1.Descriptor) string { return layout.Subjects("r") }, false,
	},
	{
		"revisions cannot be listed", func(*tree, v1.Descriptor, v1.Descriptor) string { return layout.Revisions("r") },
		func(v1.Descriptor, v1.Descriptor) string { return layout.Revisions("r") }, true,
	},
	{
		"layers cannot be listed", func(*tree, v1.Descriptor, v1.Descriptor) string { return layout.Layers("r") },
		func(v1.Descriptor, v1.Descriptor) string { return layout.Layers("r") }, true,
	},
	{
		"a repository cannot be listed", func(*tree, v1.Descriptor, v1.Descriptor) string { return layout.Repository("r") },
		func(v1.Descriptor, v1.Descriptor) string { return layout.Repository("r") }, true,
	},
}

func TestTrouble(t *testing.T) {
	for _, test := range damages {
		t.Run(test.name, func(t *testing.T) {
			tree := newTree(t, inmemory.New())
			image := tree.image("r", "image")
			tree.tag("r", "v1", image)
			sbom := tree.artifact("r", "sbom", &image)
			child := tree.image("r", "child") // needed by an index, but deleted
			tree.index("r", "index", v1.MediaTypeImageIndex, child)
			tree.delete("r", child)
			untagged := tree.image("r", "untagged")
			tree.signature("r", "signature", untagged)
			tree.image("s", "gone")
			tree.tag("s", "v1", tree.image("s", "stays"))
			fails := test.damage(tree, image, sbom)
			driver := hooked{tree.driver, func(_, path string) error {
				if path == fails {
					return errStorage
				}
				return nil
			}}
			before := files(t, tree.driver)

			report, err := tryCollect(context.Background(), driver, Options{Untagged: true})
			if err == nil || !strings.Contains(err.Error(), test.named(image, sbom)) {
				t.Errorf("the error %v does not name %s", err, test.named(image, sbom))
			}
			if !maps.Equal(files(t, tree.driver), before) || removals(report) != 0 {
				t.Fatalf("something was removed: %+v", report)
			}

			report, err = tryCollect(context.Background(), driver, Options{Untagged: true, SkipCorrupt: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Problems) == 0 || !strings.Contains(report.Problems[0].Reason, test.named(image, sbom)) {
				t.Errorf("the problems %+v do not name %s", report.Problems, test.named(image, sbom))
			}
			checkSpared(t, before, files(t, tree.driver), test.blobs)
			if files(t, tree.driver)[layout.BlobData(child.Digest)] == "" {
				t.Error("what an index references is gone")
			}
		})
	}
}

// checkSpared checks that "r" is unchanged, with every blob that has a link there, and
// that "s" has been collected.
func checkSpared(t *testing.T, before, after map[string]string, blobs bool) {
	t.Helper()
	linked := map[string]bool{}
	for file, content := range before {
		if strings.HasPrefix(file, layout.Repository("r")+"/") && path.Base(file) == layout.LinkName {
			if d := digest.Digest(content); d.Validate() == nil {
				linked[layout.BlobData(d)] = true
			}
		}
	}
	goneFromS := 0
	for file := range before {
		_, there := after[file]
		switch {
		case there:
		case strings.HasPrefix(file, layout.Repository("r")+"/") || linked[file]:
			t.Errorf("%s is gone", file)
		case strings.HasPrefix(file, layout.Blobs) && blobs:
			t.Errorf("%s is gone, although it is not known which blobs are needed", file)
		case strings.HasPrefix(file, layout.Repository("s")+"/"):
			goneFromS++
		}
	}
	if goneFromS == 0 {
		t.Error("nothing is gone from the other repository")
	}
}

// If the folder of repositories is missing, the storage may not be mounted.
func TestNoRepositories(t *testing.T) {
	tree := newTree(t, inmemory.New())
	if report := collect(t, tree.driver, Options{}); removals(report) != 0 {
		t.Errorf("in an empty storage, something is removed: %+v", report)
	}
	d := digest.FromString("blob")
	tree.write(layout.BlobData(d), "blob")
	_, err := tryCollect(context.Background(), tree.driver, Options{})
	if err == nil || !strings.Contains(err.Error(), layout.Repositories) {
		t.Errorf("the error is %v, want one that names %s", err, layout.Repositories)
	}
}

// A run that is stopped removes nothing more, and says so.
func TestInterrupted(t *testing.T) {
	tree := newTree(t, inmemory.New())
	for _, name := range []string{"a", "b", "c", "d"} {
		tree.image("r", name)
	}
	tree.tag("r", "v1", tree.image("r", "stays"))
	ctx, cancel := context.WithCancel(context.Background())
	deletions := 0
	driver := hooked{tree.driver, func(operation, _ string) error {
		if operation == "delete" {
			if deletions++; deletions == 3 {
				cancel()
			}
		}
		return nil
	}}
	report, err := tryCollect(ctx, driver, Options{Untagged: true, Concurrency: 1})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the error is %v", err)
	}
	if deletions != 3 || report.Manifests.Removed+report.LayerLinks.Removed != 3 {
		t.Errorf("after %d deletions, the report says %+v", deletions, report.Counts)
	}
	collect(t, tree.driver, Options{Untagged: true})
	if got := tree.survivors(); got != "stays" {
		t.Errorf("after the next run, %q is there", got)
	}
}

// A stray file where a folder is expected is ignored.
func TestStrayFiles(t *testing.T) {
	for name, driver := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			tree := newTree(t, driver())
			image := tree.image("r", "image")
			tree.tag("r", "v1", image)
			tree.signature("r", "signature", image)
			before := files(t, tree.driver)
			for _, folder := range []string{
				layout.Repositories, layout.Revisions("r"), layout.Layers("r"),
				layout.Subjects("r"), layout.Blobs, layout.Blobs + "/sha256", layout.Revisions("r") + "/sha256",
			} {
				tree.write(folder+"/notes.txt", "stray")
				before[folder+"/notes.txt"] = "stray"
			}
			tree.remove(layout.Derived("r"))
			maps.DeleteFunc(before, func(file, _ string) bool { return strings.HasPrefix(file, layout.Derived("r")+"/") })
			tree.write(layout.Derived("r"), "no folder at all")
			before[layout.Derived("r")] = "no folder at all"
			collect(t, tree.driver, Options{Untagged: true})
			if !maps.Equal(before, files(t, tree.driver)) {
				t.Error("the tree has changed")
			}
		})
	}
}
