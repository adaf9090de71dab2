package faults

import (
	"context"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// Whatever goes wrong in a push, 201 means stored and listed; after any other answer the
// push can be repeated.
func TestPush(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "push")
	eachKind(t, func(t *testing.T, w *world, k kind) {
		points.sweep(t, w.tree, func(t *testing.T, y *try) {
			r := inprocess.Start(t, y.driver, inprocess.Options{})
			if y.k%2 == 0 {
				w.listed(t, r, "") // the repository is ready
			}
			push := put(k)
			response := y.request(t, r, push)
			w.afterPush(t, y, r, k, ok(response))
			if y.tornBlob(k) {
				return
			}
			again, err := r.For(t).Do(t.Context(), push)
			if err != nil || again.Status != http.StatusCreated {
				t.Fatalf("%v: pushed again: %v %s", y.hit, err, again)
			}
			w.afterPush(t, y, r, k, true)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			w.afterPush(t, y, nil, k, true)
		})
	})
}

func put(k kind) harness.Request {
	return harness.Request{
		Method: http.MethodPut, Path: harness.ManifestPath(repository, k.reference()),
		Body: k.manifest.Bytes(), Header: harness.Header("Content-Type: " + k.manifest.ContentType),
	}
}

// afterPush checks the tree with the registry that got the push, and with another one.
func (w *world) afterPush(t *testing.T, y *try, r *inprocess.Registry, k kind, acknowledged bool) {
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
		case acknowledged && !stored:
			t.Errorf("%v: %s registry does not have the manifest that was acknowledged", y.hit, name)
		case acknowledged && k.referrer && !listed:
			t.Errorf("%v: %s registry does not list the manifest that was acknowledged", y.hit, name)
		case listed && !(stored && k.referrer):
			t.Errorf("%v: %s registry lists the manifest, but does not have it", y.hit, name)
		case each == other && k.referrer && stored && !listed:
			t.Errorf("%v: %s registry has the manifest, but does not list it", y.hit, name)
		}
		if acknowledged && k.tag != "" {
			if response := each.For(t).GetManifest(repository, k.tag); response.Status != http.StatusOK {
				t.Errorf("%v: %s registry does not have the tag: %s", y.hit, name, response)
			}
		}
	}
}

// A manifest is refused for a blob that is missing only if the storage can tell about all
// others.
func TestPushWithAMissingBlob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stores[0])
	missing := w.blob
	missing.Digest = digest.FromString("missing")
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		push := put(kind{manifest: harness.OCIImage(missing, w.config).By(algorithm)})
		countPoints(t, "push with a missing blob").sweep(t, w.tree, func(t *testing.T, y *try) {
			r := inprocess.Start(t, y.driver, inprocess.Options{})
			var response *harness.Response
			left := y.run(t, func(ctx context.Context) { response, _ = r.For(t).Do(ctx, push) })
			switch {
			case left:
			case len(y.hit) == 0, y.fault == faultdriver.Lost && y.k == 1: // which tells that the blob is missing
				response.ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			default:
				y.clear(t, push, response)
			}
		})
	}
}

// Whatever goes wrong when a manifest that was listed and deleted is pushed again, a
// registry that remembers it lists it only if it exists.
func TestPushAfterDelete(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "push after delete")
	eachKind(t, func(t *testing.T, w *world, k kind) {
		if !k.referrer {
			return
		}
		points.sweep(t, w.with(t, k), func(t *testing.T, y *try) {
			r := inprocess.Start(t, y.driver, inprocess.Options{})
			remembers := replica(t, y.tree)
			for _, each := range []*inprocess.Registry{r, remembers} {
				if !w.listed(t, each, k.manifest.Digest()) {
					t.Fatal("not listed")
				}
			}
			r.For(t).DeleteManifest(repository, k.manifest.Digest())
			y.meanwhile = func() { w.listed(t, remembers, k.manifest.Digest()) }
			acknowledged := ok(y.request(t, r, put(k)))
			for _, each := range []*inprocess.Registry{r, remembers} {
				if listed := w.listed(t, each, k.manifest.Digest()); acknowledged && !listed {
					t.Errorf("%v: acknowledged, but not listed", y.hit)
				}
			}
		})
	})
}

// tornBlob reports whether the fault left half of the bytes of a manifest that
// distribution stores. Distribution then treats them as complete from then on, because it
// does not check sizes. None of its drivers leaves half a file.
func (y *try) tornBlob(k kind) bool {
	return y.fault == faultdriver.Half && !k.artifact && len(y.hit) > 0 && y.hit[0].Path == layout.BlobData(k.manifest.Digest())
}
