package gc

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
)

// fill puts n tagged images with two referrers each into a repository, as for
// the figures in docs/garbage-collection.md.
func fill(t *tree, n int, signature func(repo, name string, subject v1.Descriptor) v1.Descriptor) {
	for i := range n {
		image := t.image("r", fmt.Sprint("image ", i), "base layer")
		t.tag("r", fmt.Sprint("v", i), image)
		signature("r", fmt.Sprint("sbom ", i), image)
		signature("r", fmt.Sprint("signature ", i), image)
	}
}

// operations counts the storage operations of a run by kind.
func operations(tb testing.TB, driver storagedriver.StorageDriver, options Options) map[string]int {
	tb.Helper()
	counted := newCounter()
	collect(tb, hooked{driver, counted.count}, options)
	return counted.kinds
}

// prefixes counts the folders of blobs: at most 256 for each algorithm, and the only
// part of the cost that is not exactly linear.
func prefixes(tb testing.TB, driver storagedriver.StorageDriver) int {
	tb.Helper()
	list, err := driver.List(context.Background(), layout.Blobs+"/sha256")
	if err != nil {
		tb.Fatal(err)
	}
	return len(list)
}

// The cost of a run in which everything is kept.
func TestOperationsAreLinear(t *testing.T) {
	for _, n := range []int{100, 300} {
		tree := newTree(t, inmemory.New())
		fill(tree, n, tree.signature)
		got := operations(t, tree.driver, Options{Untagged: true})
		manifests, tags, subjects := 3*n, n, n
		want := map[string]int{
			"read": 2*manifests + tags,                         // its link and its bytes; where it points
			"list": 2*subjects + 14 + prefixes(t, tree.driver), // its algorithms and its referrers
			"stat": 0,
		}
		for kind := range want {
			if got[kind] != want[kind] {
				t.Errorf("n=%d: %d operations of kind %s, want %d", n, got[kind], kind, want[kind])
			}
		}
		if len(got) != 2 {
			t.Errorf("n=%d: the operations are %v", n, got)
		}
		got = operations(t, tree.driver, Options{})
		if got["read"] != 2*manifests {
			t.Errorf("n=%d: without tags, %d reads, want %d", n, got["read"], 2*manifests)
		}
	}
}

// Who else uses the storage can slow a run down at each of its operations.
func TestEachOperationYields(t *testing.T) {
	tree := newTree(t, inmemory.New())
	fill(tree, 10, tree.signature)
	tree.image("r", "garbage", "a layer of its own")
	var yields atomic.Int64
	total := 0
	for _, n := range operations(t, tree.driver, Options{Untagged: true, Yield: func(context.Context) { yields.Add(1) }}) {
		total += n
	}
	if yields.Load() != int64(total) {
		t.Errorf("%d operations have yielded %d times", total, yields.Load())
	}
}

// Of layer links, only those of other algorithms than the canonical one are read:
// they may be aliases.
func TestReadsOfLayerLinks(t *testing.T) {
	const n = 20
	tree := newTree(t, inmemory.New())
	var layers []v1.Descriptor
	for i := range n {
		layers = append(layers, tree.aliased("r", fmt.Sprint("aliased ", i)), tree.blob("r", fmt.Sprint("layer ", i)))
	}
	tree.tag("r", "v1", tree.imageWith("r", "image", layers...))
	var mu sync.Mutex
	reads := map[string]int{}
	collect(t, hooked{tree.driver, func(operation, file string) error {
		mu.Lock()
		defer mu.Unlock()
		if rest, is := strings.CutPrefix(file, layout.Layers("r")+"/"); is && operation == "read" {
			algorithm, _, _ := strings.Cut(rest, "/")
			reads[algorithm]++
		}
		return nil
	}}, Options{Untagged: true})
	if reads["sha512"] != n || reads["sha256"] != 0 {
		t.Errorf("the reads of %d layer links of each algorithm are %v", n, reads)
	}
}

// The cost of a run in which most is removed.
func TestOperationsOfRemovalsAreLinear(t *testing.T) {
	for _, n := range []int{100, 300} {
		tree := newTree(t, inmemory.New())
		fill(tree, n, tree.signature)
		for i := range n {
			// Each tag has moved on to the same image.
			tree.tag("r", fmt.Sprint("v", i), tree.image("r", "the new one", "base layer"))
		}
		folders := prefixes(t, tree.driver)
		got := operations(t, tree.driver, Options{Untagged: true})
		// For each image and each of its two signatures: one manifest, and one blob
		// of its own; an image has a config besides, and the signatures share one.
		manifests, blobs := 3*n, 4*n+1
		want := map[string]int{
			"read": 2*(manifests+1) + n,
			"stat": manifests + blobs + (manifests + blobs), // is it young? links, then blobs
			// Revision, its history in a tag (images only), link in the index (signatures
			// only), its blob; a layer's link and its blob; folders of the index.
			"delete": manifests + n + 2*n + manifests + 2*blobs + 2*n,
		}
		slack := map[string]int{"delete": n + 10} // derived files, and folders above
		for kind := range want {
			if got[kind] < want[kind] || got[kind] > want[kind]+slack[kind] {
				t.Errorf("n=%d: %d operations of kind %s, want %d and at most %d more", n, got[kind], kind, want[kind], slack[kind])
			}
		}
		if lists := got["list"] - folders; lists > 9*n+40 {
			t.Errorf("n=%d: %d lists, want at most %d", n, lists, 9*n+40)
		}
	}
}

// With 20 ms for each operation, in a synctest bubble, a run over 1,000 images takes at
// most a tenth of what it takes with one operation after the other.
func TestConcurrencyHidesLatency(t *testing.T) {
	elapsed := map[int]time.Duration{}
	underWay := map[int]int{}
	synctest.Test(t, func(t *testing.T) {
		tree := newTree(t, inmemory.New())
		fill(tree, 1000, tree.signature)
		for _, concurrency := range []int{1, DefaultConcurrency} {
			var mu sync.Mutex
			now, most := 0, 0
			driver := hooked{tree.driver, func(string, string) error {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				return nil
			}}
			start := time.Now()
			collect(t, driver, Options{Untagged: true, Concurrency: concurrency})
			elapsed[concurrency], underWay[concurrency] = time.Since(start), most
		}
	})
	t.Logf("20 ms per operation: %v one after the other, %v with %d at a time", elapsed[1], elapsed[DefaultConcurrency], DefaultConcurrency)
	if elapsed[DefaultConcurrency] > elapsed[1]/10 {
		t.Errorf("%v with %d at a time, %v one after the other", elapsed[DefaultConcurrency], DefaultConcurrency, elapsed[1])
	}
	for concurrency, most := range underWay {
		if most != concurrency {
			t.Errorf("%d operations at a time, want %d", most, concurrency)
		}
	}
}

// The memory that a run uses for each digest when everything is marked.
func TestMemory(t *testing.T) {
	const n = 4000
	tree := newTree(t, inmemory.New())
	fill(tree, n, tree.signature)
	tree.names = nil
	const marked = 7*n + 2 // as in TestOperationsOfRemovalsAreLinear, with the base layer and the shared config
	before := heap()
	var after int64
	var once sync.Once
	collect(t, hooked{tree.driver, func(_, path string) error {
		if path == layout.Blobs { // which is listed when everything is marked
			once.Do(func() { after = heap() })
		}
		return nil
	}}, Options{Untagged: true, DryRun: true})
	perDigest := float64(after-before) / marked
	t.Logf("%.0f bytes for each of %d digests", perDigest, marked)
	if perDigest > 200 {
		t.Errorf("%.0f bytes for each of %d digests, want at most 200", perDigest, marked)
	}
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
