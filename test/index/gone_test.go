package index_test

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
)

// What a stock registry deletes while no index is running is not listed when one is
// running again, and it is listed again after it was pushed again.
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
							tree.remove(layout.DerivedManifests(repository))
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

// look opens an index for two listings, and then closes it.
func (t tree) look(test *testing.T, readOnly bool, want []digest.Digest) {
	test.Helper()
	driver := t.StorageDriver
	if readOnly {
		driver = layout.ReadOnly{StorageDriver: driver}
	}
	x := newIndex(driver, referrers.Options{})
	expect(test, x, want)
	expect(test, x, want)
	if err := x.Close(test.Context()); err != nil {
		test.Fatal(err)
	}
}

// A link that is gone although its manifest exists, as after a power failure or an
// interrupted delete, is written again, whatever the derived files contain.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		for _, readOnly := range []bool{false, true} {
			for _, all := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/read-only %v/all %v", name, readOnly, all), func(t *testing.T) {
					t.Parallel()
					tree := tree{t, store(t)}
					list := tree.listed(t, 5)
					lost := list[1:3]
					if all {
						lost = list
					}
					for _, d := range lost {
						tree.remove(layout.Referrer(repository, subject.Digest, d))
					}
					tree.look(t, readOnly, list)
					tree.look(t, false, list)
					for _, d := range lost {
						if _, err := tree.Stat(t.Context(), layout.ReferrerLink(repository, subject.Digest, d)); err != nil {
							t.Errorf("not linked again: %v", err)
						}
					}
				})
			}
		}
	}
}

// The file that says that there are links of other algorithms may be lost too, and what a
// crash left of writing it says nothing: listings and Verify agree.
func TestLostOtherAlgorithms(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		for _, left := range []string{"nothing", "a temporary file"} {
			t.Run(name+"/"+left, func(t *testing.T) {
				t.Parallel()
				tree := tree{t, store(t)}
				d := tree.store(repository, artifact(0).By(digest.SHA512))
				tree.look(t, false, []digest.Digest{d}) // links it
				marker := layout.OtherReferrers(repository, subject.Digest)
				tree.remove(marker)
				if left != "nothing" {
					tree.put(marker+".7e57.tmp", "sha")
				}
				tree.look(t, false, []digest.Digest{d})
				x := open(t, tree.StorageDriver, referrers.Options{})
				faults, err := x.Verify(t.Context(), repository, false, func() {})
				if err != nil || len(faults) > 0 {
					t.Errorf("after a listing, verify finds %+v, %v", faults, err)
				}
			})
		}
	}
}

// Derived files from before a delete do not hide what a stock registry pushes after
// it.
func TestStaleNote(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, store(t)}
			list := tree.listed(t, 5)
			noted, err := tree.GetContent(t.Context(), layout.DerivedManifests(repository))
			if err != nil {
				t.Fatal(err)
			}
			x := newIndex(tree.StorageDriver, referrers.Options{})
			remove(t, tree, x, list[0])
			remove(t, tree, x, list[1])
			expect(t, x, list[2:])
			if err := x.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			tree.put(layout.DerivedManifests(repository), string(noted))
			tree.put(layout.RevisionLink(repository, list[0]), list[0].String())
			tree.look(t, false, append(list[2:], list[0]))
		})
	}
}
