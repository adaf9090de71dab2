package faults

import (
	"net/http"
	"testing"

	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// Whatever goes wrong in a delete, 202 means gone everywhere. Before that, a manifest
// that can be pulled is listed, and the delete can be repeated.
func TestDelete(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "delete")
	eachKind(t, func(t *testing.T, w *world, k kind) {
		points.sweep(t, w.with(t, k), func(t *testing.T, y *try) {
			r := inprocess.Start(t, y.driver, inprocess.Options{})
			if y.k%2 == 0 {
				w.listed(t, r, k.manifest.Digest()) // the repository is ready
			}
			remove := harness.Request{Method: http.MethodDelete, Path: harness.ManifestPath(repository, k.manifest.Digest().String())}
			response := y.request(t, r, remove)
			w.afterDelete(t, y, r, k, ok(response) || gone(remove, response))

			again, err := r.For(t).Do(t.Context(), remove)
			if err != nil || again.Status != http.StatusAccepted && again.Status != http.StatusNotFound {
				t.Fatalf("%v: deleted again: %v %s", y.hit, err, again)
			}
			w.afterDelete(t, y, r, k, true)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			w.afterDelete(t, y, nil, k, true)
		})
	})
}

// with is the tree with one more manifest.
func (w *world) with(t *testing.T, k kind) *faultdriver.Objects {
	t.Helper()
	tree := w.tree.Clone()
	r := inprocess.Start(t, tree, inprocess.Options{})
	r.MustPush(repository, k.tag, k.manifest)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// afterDelete checks the tree with the registry that got the request, and with another
// one.
func (w *world) afterDelete(t *testing.T, y *try, r *inprocess.Registry, k kind, acknowledged bool) {
	t.Helper()
	other := replica(t, y.tree)
	defer other.Close()
	for _, each := range []*inprocess.Registry{r, other} {
		if each == nil {
			continue
		}
		name := "the same"
		if each == other {
			name = "another"
		}
		listed := w.listed(t, each, k.manifest.Digest())
		stored := pullable(t, each, k.manifest)
		switch {
		case acknowledged && (stored || listed):
			t.Errorf("%v: %s registry still has the manifest: pulled %v, listed %v", y.hit, name, stored, listed)
		case listed != (stored && k.referrer):
			t.Errorf("%v: in %s registry the manifest is pulled: %v, listed: %v", y.hit, name, stored, listed)
		}
	}
}

// Whatever goes wrong when a subject is deleted, its referrers stay listed.
func TestDeleteSubject(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "delete of a subject")
	for _, store := range stores {
		w := newWorld(t, store)
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			points.sweep(t, w.tree, func(t *testing.T, y *try) {
				r := inprocess.Start(t, y.driver, inprocess.Options{})
				remove := harness.Request{Method: http.MethodDelete, Path: harness.ManifestPath(repository, w.subject.Digest.String())}
				acknowledged := ok(y.request(t, r, remove))
				w.listed(t, r, "")
				again, err := r.For(t).Do(t.Context(), remove)
				if err != nil || again.Status != http.StatusAccepted && again.Status != http.StatusNotFound {
					t.Fatalf("%v: deleted again: %v %s", y.hit, err, again)
				}
				other := replica(t, y.tree)
				defer other.Close()
				for _, each := range []*inprocess.Registry{r, other} {
					w.listed(t, each, "")
					if pulled := each.For(t).GetManifest(repository, w.subject.Digest.String()); pulled.Status != http.StatusNotFound {
						t.Errorf("%v (acknowledged at once: %v): still there: %s", y.hit, acknowledged, pulled)
					}
				}
			})
		})
	}
}
