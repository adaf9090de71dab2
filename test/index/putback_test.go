package index_test

import (
	"context"
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
)

// A link that is restored because its manifest exists after all is not left behind by a
// delete that comes in between on another replica.
func TestPutBackWhileDeleted(t *testing.T) {
	t.Parallel()
	denied := errors.New("denied")
	for name, putBack := range map[string]func(tree, *referrers.Index, digest.Digest) error{
		"after a delete that failed": func(_ tree, x *referrers.Index, d digest.Digest) error {
			err := x.Delete(context.Background(), repository, d, subject.Digest, func() error { return denied })
			if errors.Is(err, denied) {
				return nil
			}
			return err
		},
		"after a delete, by a push": func(tree tree, x *referrers.Index, d digest.Digest) error {
			return x.Delete(context.Background(), repository, d, subject.Digest, func() error {
				tree.attach(repository, artifact(0)) // another push has linked it meanwhile
				return tree.Delete(context.Background(), layout.Revision(repository, d))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, faultdriver.NewObjects("objects")}
			d := tree.attach(repository, artifact(0))
			driver := faultdriver.New(tree.StorageDriver)
			x, other := open(t, driver, referrers.Options{}), open(t, tree.StorageDriver, referrers.Options{})
			link, deletes, between := layout.ReferrerLink(repository, subject.Digest, d), 0, false
			driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
				switch {
				case o.Method == "Delete" && o.Path == layout.Referrer(repository, subject.Digest, d):
					if deletes++; deletes == 2 {
						tree.put(layout.RevisionLink(repository, d), d.String()) // pushed again
					}
				case o.Method == "PutContent" && o.Path == link && !between:
					between = true
					remove(t, tree, other, d)
				}
				return faultdriver.None
			})
			if err := putBack(tree, x, d); err != nil {
				t.Error(err)
			}
			if !between {
				t.Error("the link was not restored")
			}
			there, err := other.HasRevision(t.Context(), repository, d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tree.Stat(t.Context(), link); (err == nil) != there {
				t.Errorf("the revision exists: %t; its link: %v", there, err)
			}
		})
	}
}

// While links are restored, no replica trusts what it has seen: a link may be there
// without its revision for a moment.
func TestListingWhileLinksAreRestored(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, store(t)}
			want := tree.fill(4, 0)
			x := open(t, tree.StorageDriver, referrers.Options{})
			expect(t, x, want)
			marker := layout.Restoring(repository, subject.Digest, "test")
			tree.put(marker, subject.Digest.String())
			tree.remove(layout.RevisionLink(repository, want[0])) // and its link is there, put back by a restore
			expect(t, x, want[1:])
			tree.remove(marker)
			expect(t, x, want[1:])
		})
	}
}

// Restoring links leaves nothing but links behind.
func TestRestoringLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, store(t)}
			want := []digest.Digest{tree.store(repository, artifact(0)), tree.store(repository, artifact(1))}
			expect(t, open(t, tree.StorageDriver, referrers.Options{}), want)
			paths, err := tree.List(t.Context(), layout.Referrers(repository, subject.Digest, digest.Canonical))
			if err != nil || len(paths) != len(want) {
				t.Errorf("%v: %v", err, paths)
			}
		})
	}
}
