package faults

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// Whatever goes wrong in a listing, the list is complete, or it is an error.
func TestList(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "list")
	for _, store := range stores {
		w := newWorld(t, store)
		for name, tree := range w.states(t) {
			for _, route := range harness.Routes() {
				if name != "pushed" && route.Name != harness.OCI.Name {
					continue // the code behind the routes is the same
				}
				t.Run(store+"/"+name+"/"+route.Name, func(t *testing.T) {
					t.Parallel()
					points.sweep(t, tree, func(t *testing.T, y *try) { w.list(t, y, route, name == "warm") })
				})
			}
		}
	}
}

// states are trees in all states that a listing may find.
func (w *world) states(t *testing.T) map[string]*faultdriver.Objects {
	t.Helper()
	listed := w.tree.Clone()
	r := replica(t, listed)
	w.listed(t, r, "")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string]*faultdriver.Objects{
		"pushed":            w.tree,
		"listed before":     listed,
		"warm":              listed,
		"without index":     without(t, w.tree, layout.Refs(repository)),
		"without derived":   without(t, listed, layout.Derived(repository)),
		"without summaries": without(t, listed, layout.DerivedSubjects(repository)),
	}
}

// without is a copy of a tree without a folder.
func without(t *testing.T, tree *faultdriver.Objects, folder string) *faultdriver.Objects {
	t.Helper()
	tree = tree.Clone()
	if err := tree.Delete(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	return tree
}

func (w *world) list(t *testing.T, y *try, route harness.Route, warm bool) {
	t.Helper()
	options := inprocess.Options{}
	if y.fault.Waits() && !warm {
		options.Wait = "20ms" // a scan that hangs does not recover
	}
	r := inprocess.Start(t, y.driver, options)
	if warm {
		w.listed(t, r, "")
	}
	request := harness.Request{Method: http.MethodGet, Path: route.Path(repository, w.subject.Digest)}
	if response := y.request(t, r, request); ok(response) {
		w.whole(t, y, route, response)
	}
	again, err := r.For(t).Do(t.Context(), request)
	switch {
	case err != nil:
		t.Fatalf("%v: asked again: %v", y.hit, err)
	case options.Wait != "" && again.Status == http.StatusServiceUnavailable:
		again.ExpectHeader("Retry-After", "1")
	default:
		w.whole(t, y, route, again)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	other := replica(t, y.tree)
	defer other.Close()
	w.listed(t, other, "")
}

// whole expects a listing to be complete.
func (w *world) whole(t *testing.T, y *try, route harness.Route, response *harness.Response) {
	t.Helper()
	want := len(w.before)
	if route.Name != harness.OCI.Name {
		want = 1 // only the ORAS artifact
	}
	if list := route.Entries(response); len(list) != want {
		t.Errorf("%v: listed are %d of %d: %s", y.hit, len(list), want, response)
	}
}

// Whatever goes wrong in a pull, the manifest is complete, or it is an error, but never
// one that says that the manifest does not exist.
func TestPull(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "pull")
	eachKind(t, func(t *testing.T, w *world, k kind) {
		points.sweep(t, w.with(t, k), func(t *testing.T, y *try) {
			r := inprocess.Start(t, y.driver, inprocess.Options{})
			pull := harness.Request{
				Method: http.MethodGet, Path: harness.ManifestPath(repository, k.reference()), Header: harness.Header(harness.AcceptAll),
			}
			if response := y.request(t, r, pull); ok(response) && !bytes.Equal(response.Body, k.manifest.Bytes()) {
				t.Errorf("%v: pulled something else: %s", y.hit, response)
			}
			again, err := r.For(t).Do(t.Context(), pull)
			if err != nil || again.Status != http.StatusOK || !bytes.Equal(again.Body, k.manifest.Bytes()) {
				t.Errorf("%v: pulled again: %v %s", y.hit, err, again)
			}
		})
	})
}
