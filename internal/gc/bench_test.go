package gc

import (
	"fmt"
	"slices"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// BenchmarkCollect compares dry runs with those of distribution's own collector:
// one repository with n tagged images, each with two referrers that distribution
// can read, on the filesystem driver. For a table:
//
//	go test -run '^$' -bench Collect -count 6 ./internal/gc | benchstat -col /collector -
func BenchmarkCollect(b *testing.B) {
	collectors := map[string]func(testing.TB, storagedriver.StorageDriver, Options){
		"ours": func(tb testing.TB, driver storagedriver.StorageDriver, options Options) {
			tb.Helper()
			collect(tb, driver, options)
		},
		"stock": collectStock,
	}
	for _, n := range []int{500, 1000} {
		tree := newTree(b, newDisk(b.TempDir()))
		fill(tree, n, tree.unlinked)
		linked := newTree(b, newDisk(b.TempDir()))
		fill(linked, n, linked.signature)
		for _, flags := range []string{"none", "delete-untagged"} {
			for _, collector := range []string{"ours", "stock"} {
				// Links do not affect stock, and cost ours something.
				driver := map[string]storagedriver.StorageDriver{"ours": linked.driver, "stock": tree.driver}[collector]
				b.Run(fmt.Sprintf("flags=%s/n=%d/collector=%s", flags, n, collector), func(b *testing.B) {
					b.ReportAllocs()
					options := Options{DryRun: true, Untagged: flags == "delete-untagged"}
					for b.Loop() {
						collectors[collector](b, driver, options)
					}
				})
			}
		}
	}
}

// BenchmarkMark measures only the marking: n images with ten layers and two referrers.
func BenchmarkMark(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			var needs, links edges
			var roots ids
			for i := range id(n) {
				image := i * 16
				roots = append(roots, image)
				for layer := range id(10) {
					needs = append(needs, edge{image, image + 1 + layer})
				}
				links = append(links, edge{image, image + 11}, edge{image + 11, image + 12})
			}
			needs, links = needs.sorted(), links.sorted()
			b.ReportAllocs()
			for b.Loop() {
				Mark(slices.Values(roots), needs.from, links.from)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(13*n), "ns/node")
		})
	}
}
