package referrers_test

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
	"github.com/oras-distribution/registry/extensions/referrers"
	"github.com/oras-distribution/registry/internal/faultdriver"
)

// What a stock registry deletes while no index is running is gone at once when
// one is running again, and there again when it was pushed again.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"inmemory", "objects"} {
		for _, lost := range []string{"nothing", "revisions", "summaries", "everything"} {
			for _, readOnly := range []bool{false, true} {
				for _, all := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s lost/read-only %v/all %v", store, lost, readOnly, all), func(t *testing.T) {
						t.Parallel()
						tree := tree{t, faultdriver.NewObjects(store)}
						list := tree.listed(t, 5)
						switch lost {
						case "revisions":
							tree.remove(layout.DerivedRevisions(repository))
						case "summaries":
							tree.remove(layout.DerivedSubjects(repository))
						case "everything":
							tree.remove(layout.Derived(repository))
						}
						deleted := list[:2]
						if all {
							deleted = list
						}
						for _, d := range deleted {
							tree.remove(layout.Revision(repository, d))
						}
						tree.look(t, readOnly, list[len(deleted):])
						for _, d := range deleted {
							tree.put(layout.RevisionLink(repository, d), d.String())
						}
						tree.look(t, readOnly, list)
					})
				}
			}
		}
	}
}

// listed fills the tree, and lists it once.
func (t tree) listed(test *testing.T, n int) []digest.Digest {
	test.Helper()
	want := t.fill(n, 0)
	t.look(test, false, want)
	return want
}

// look opens an index for two listings, and closes it.
func (t tree) look(test *testing.T, readOnly bool, want []digest.Digest) {
	test.Helper()
	x := referrers.New(t.StorageDriver, referrers.Options{ReadOnly: readOnly})
	expect(test, x, want)
	expect(test, x, want)
	if err := x.Close(test.Context()); err != nil {
		test.Fatal(err)
	}
}
