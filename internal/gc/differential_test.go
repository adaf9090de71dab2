package gc

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// collectStock runs the collector of distribution.
func collectStock(tb testing.TB, driver storagedriver.StorageDriver, options Options) {
	tb.Helper()
	if err := tryStock(tb, driver, options); err != nil {
		tb.Fatal(err)
	}
}

// tryStock is collectStock for a tree that it may fail on.
func tryStock(tb testing.TB, driver storagedriver.StorageDriver, options Options) error {
	tb.Helper()
	ctx := context.Background()
	registry, err := storage.NewRegistry(ctx, driver)
	if err != nil {
		tb.Fatal(err)
	}
	return storage.MarkAndSweep(ctx, driver, registry, storage.GCOpts{
		DryRun: options.DryRun, RemoveUntagged: options.Untagged, Quiet: true,
	})
}

// randomTree fills a tree without referrers. Each repository has a tag, and
// content is shared only within a repository: TestWhereStockIsWrong covers the cases
// in which stock differs.
func randomTree(t *tree, random *rand.Rand) {
	for r := range 1 + random.IntN(3) {
		repo := []string{"r", "s/t", "s/u-v"}[r]
		var manifests []v1.Descriptor
		for i := range 2 + random.IntN(8) {
			name := fmt.Sprintf("%s-%d", repo, i)
			if len(manifests) > 2 && random.IntN(4) == 0 {
				children := make([]v1.Descriptor, 1+random.IntN(3))
				for c := range children {
					children[c] = manifests[random.IntN(len(manifests))]
				}
				kind := []string{v1.MediaTypeImageIndex, manifest.MediaTypeDockerList}[random.IntN(2)]
				manifests = append(manifests, t.index(repo, name, kind, children...))
				continue
			}
			manifests = append(manifests, t.image(repo, name, fmt.Sprintf("%s layer %d", repo, random.IntN(4))))
		}
		for i := range 1 + random.IntN(6) {
			t.tag(repo, fmt.Sprintf("v%d", i%3), manifests[random.IntN(len(manifests))])
		}
		for i := range random.IntN(3) {
			t.blob(repo, fmt.Sprintf("%s unused %d", repo, i))
		}
		// The API deletes a manifest together with the tags that point to it. A child of
		// an index may be deleted too.
		if random.IntN(2) == 0 {
			gone := manifests[random.IntN(len(manifests))]
			t.delete(repo, gone)
			t.untagAll(repo, gone)
			t.tag(repo, "stays", manifests[slices.IndexFunc(manifests, func(d v1.Descriptor) bool { return d.Digest != gone.Digest })])
		}
	}
}

// untagAll removes all tags that point to a manifest, as the API does when the
// manifest is deleted.
func (t *tree) untagAll(repo string, d v1.Descriptor) {
	t.Helper()
	for file, content := range files(t, t.driver) {
		tag, current := strings.CutSuffix(strings.TrimPrefix(file, layout.Tags(repo)+"/"), "/current/link")
		if current && strings.HasPrefix(file, layout.Tags(repo)) && content == d.Digest.String() {
			t.untag(repo, tag)
		}
	}
}

func TestSameAsStockWithoutReferrers(t *testing.T) {
	for seed := range uint64(150 / sparse) {
		for name, options := range map[string]Options{"default": {}, "untagged": {Untagged: true}} {
			t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
				tree := newTree(t, inmemory.New())
				randomTree(tree, rand.New(rand.NewPCG(seed, 5)))
				before := files(t, tree.driver)
				stock := copyTo(t, before, inmemory.New())
				collectStock(t, stock, options)
				collect(t, tree.driver, options)
				compare(t, before, files(t, tree.driver), files(t, stock))
			})
		}
	}
}

func compare(t *testing.T, before, ours, stock map[string]string) {
	t.Helper()
	for _, file := range keys(before) {
		_, inOurs := ours[file]
		_, inStock := stock[file]
		switch {
		case inOurs && !inStock:
			t.Errorf("only stock removes %s", file)
		case !inOurs && inStock:
			t.Errorf("only ours removes %s", file)
		}
	}
}

// Where repositories share content, stock treats all of them as one for some of its
// decisions. Ours removes everything that stock removes, and both keep the same blobs.
func TestSharedContentAsStock(t *testing.T) {
	for seed := range uint64(60 / sparse) {
		random := rand.New(rand.NewPCG(seed, 6))
		tree := newTree(t, inmemory.New())
		for _, repo := range []string{"a", "b", "c"} {
			for i := range 6 {
				image := tree.image(repo, fmt.Sprint("image ", i), fmt.Sprint("layer ", i%2))
				if i == 0 || random.IntN(2) == 0 {
					tree.tag(repo, fmt.Sprint("v", i), image)
				}
			}
		}
		stock := copyTo(t, files(t, tree.driver), inmemory.New())
		collectStock(t, stock, Options{Untagged: true})
		collect(t, tree.driver, Options{Untagged: true})
		ours, theirs := files(t, tree.driver), files(t, stock)
		for file := range ours {
			if _, there := theirs[file]; !there {
				t.Errorf("seed %d: only stock removes %s", seed, file)
			}
		}
		for file := range theirs {
			if _, there := ours[file]; !there && strings.HasPrefix(file, layout.Blobs) {
				t.Errorf("seed %d: only ours removes %s", seed, file)
			}
		}
	}
}

// What stock does differently, and ours does right. If one of these fails because stock
// has been fixed, the test can be removed.
func TestWhereStockIsWrong(t *testing.T) {
	both := func(t *testing.T, options Options, build func(*tree)) (ours, stock map[string]string) {
		t.Helper()
		tree := newTree(t, inmemory.New())
		build(tree)
		other := copyTo(t, files(t, tree.driver), inmemory.New())
		collect(t, tree.driver, options)
		collectStock(t, other, options)
		return files(t, tree.driver), files(t, other)
	}

	t.Run("a repository with digests only", func(t *testing.T) {
		var image v1.Descriptor
		ours, stock := both(t, Options{Untagged: true}, func(tree *tree) { image = tree.image("r", "image") })
		if _, there := stock[layout.RevisionLink("r", image.Digest)]; !there {
			t.Error("stock removes the manifest's link")
		}
		if _, there := stock[layout.BlobData(image.Digest)]; there {
			t.Error("stock keeps the manifest's bytes")
		}
		if len(ours) != 0 {
			t.Errorf("ours leaves %v", keys(ours))
		}
	})

	t.Run("an untagged manifest that another repository has tagged", func(t *testing.T) {
		var image v1.Descriptor
		ours, stock := both(t, Options{Untagged: true}, func(tree *tree) {
			tree.tag("a", "v1", tree.image("a", "image"))
			image = tree.image("b", "image")
			tree.tag("b", "v1", tree.image("b", "other"))
		})
		if _, there := stock[layout.RevisionLink("b", image.Digest)]; !there {
			t.Error("stock removes it")
		}
		if _, there := ours[layout.RevisionLink("b", image.Digest)]; there {
			t.Error("ours keeps it")
		}
	})

	t.Run("a layer link that only another repository needs", func(t *testing.T) {
		var layer v1.Descriptor
		ours, stock := both(t, Options{}, func(tree *tree) {
			tree.tag("a", "v1", tree.image("a", "image", "layer"))
			tree.tag("b", "v1", tree.image("b", "other"))
			layer = tree.blob("b", "layer")
		})
		if _, there := stock[layout.LayerLink("b", layer.Digest)]; !there {
			t.Error("stock removes it")
		}
		if _, there := ours[layout.LayerLink("b", layer.Digest)]; there {
			t.Error("ours keeps it")
		}
	})

	t.Run("a repository with nothing but blobs", func(t *testing.T) {
		ours, stock := both(t, Options{}, func(tree *tree) {
			tree.tag("a", "v1", tree.image("a", "image"))
			tree.blob("b", "blob")
		})
		leadsNowhere := func(all map[string]string) bool {
			return slices.ContainsFunc(keys(all), func(file string) bool { return strings.Contains(file, "/b/_layers/") })
		}
		if !leadsNowhere(stock) || leadsNowhere(ours) {
			t.Errorf("a link that leads nowhere stays: with stock %v, with ours %v", leadsNowhere(stock), leadsNowhere(ours))
		}
	})

	t.Run("a layer that is referenced by another digest than it is stored under", func(t *testing.T) {
		tree := newTree(t, inmemory.New())
		tree.tag("r", "v1", tree.imageWith("r", "image", tree.aliased("r", "layer")))
		before := files(t, tree.driver)
		collect(t, tree.driver, Options{})
		if !maps.Equal(before, files(t, tree.driver)) {
			t.Error("ours changes a tree in which all is needed")
		}
		if err := tryStock(t, tree.driver, Options{}); err == nil {
			t.Error("stock reports no error")
		}
		if files(t, tree.driver)[layout.BlobData(digest.FromString("layer"))] != "" {
			t.Error("stock keeps its bytes")
		}
	})

	t.Run("the signature of a tagged image", func(t *testing.T) {
		var signature v1.Descriptor
		ours, stock := both(t, Options{Untagged: true}, func(tree *tree) {
			image := tree.image("r", "image")
			tree.tag("r", "v1", image)
			signature = tree.signature("r", "signature", image)
		})
		if _, there := stock[layout.RevisionLink("r", signature.Digest)]; there {
			t.Error("stock keeps it")
		}
		if _, there := ours[layout.BlobData(signature.Digest)]; !there {
			t.Error("ours removes it")
		}
	})

	t.Run("a manifest that stock does not know", func(t *testing.T) {
		tree := newTree(t, inmemory.New())
		image := tree.image("r", "image")
		tree.tag("r", "v1", image)
		tree.artifact("r", "sbom", &image)
		before := files(t, tree.driver)
		if err := tryStock(t, tree.driver, Options{}); err == nil {
			t.Error("stock collects a tree with artifacts")
		}
		collect(t, tree.driver, Options{})
		if !maps.Equal(before, files(t, tree.driver)) {
			t.Error("ours changes a tree in which all is needed")
		}
	})
}
