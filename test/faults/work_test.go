package faults

import (
	"context"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// all is the tree with manifests of all kinds, as a stock registry leaves it:
// without an index. It returns the referrers of the subject.
func (w *world) all(t *testing.T) (*faultdriver.Objects, []digest.Digest) {
	t.Helper()
	tree := w.tree.Clone()
	r := inprocess.Start(t, tree, inprocess.Options{})
	list := w.before
	for _, k := range w.kinds() {
		if r.MustPush(repository, k.tag, k.manifest); k.referrer && k.tag == "" {
			list = append(list, k.manifest.Digest())
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return without(t, tree, layout.Refs(repository)), list
}

// watcher is told about failures in the background.
type watcher struct {
	failed chan struct{}
	once   sync.Once
}

func (*watcher) Skipped(string, digest.Digest, digest.Digest, error) {}
func (*watcher) Scanned(string, referrers.ScanResult)                {}
func (*watcher) Linked(string, int)                                  {}
func (w *watcher) Failed(string, error)                              { w.once.Do(func() { close(w.failed) }) }

// Whatever goes wrong when a tree is indexed in the background, a request gets the
// complete list or an error, and the next one gets the complete list.
func TestBackground(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "background indexing")
	for _, store := range stores {
		w := newWorld(t, store)
		tree, want := w.all(t)
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			points.sweep(t, tree, func(t *testing.T, y *try) {
				watcher := &watcher{failed: make(chan struct{})}
				x := referrers.New(y.driver, referrers.Options{Types: harness.ManifestTypes(), Observer: watcher})
				closed := false
				y.run(t, func(ctx context.Context) {
					done := make(chan struct{})
					x.PrepareAll(func(_ context.Context, found func(string) error) error { return found(repository) },
						func(p referrers.Progress) {
							if p.Done {
								close(done)
							}
						})
					select {
					case <-done:
					case <-watcher.failed:
					case <-ctx.Done(): // it hangs, and ends with the index
						closed = true
						_ = x.Close(context.WithoutCancel(ctx))
					}
				})
				if !closed {
					expectSet(t, y, x, w.subject.Digest, want)
					if err := x.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				other := referrers.New(y.tree, referrers.Options{Types: harness.ManifestTypes()})
				defer other.Close(t.Context())
				expectSet(t, y, other, w.subject.Digest, want)
			})
		})
	}
}

// expectSet expects the referrers of a subject to be exactly these.
func expectSet(t *testing.T, y *try, x *referrers.Index, subject digest.Digest, want []digest.Digest) {
	t.Helper()
	set, err := x.Referrers(t.Context(), repository, subject)
	if err != nil {
		t.Errorf("%v: %v", y.hit, err)
		return
	}
	if len(set.Referrers) != len(want) {
		t.Errorf("%v: %d referrers instead of %d", y.hit, len(set.Referrers), len(want))
	}
}

// Whatever goes wrong in a rebuild or a repair, it says so, and repeating it leaves
// nothing to repair.
func TestRebuild(t *testing.T) {
	t.Parallel()
	acts := map[string]func(context.Context, *referrers.Index) error{
		"rebuild": func(ctx context.Context, x *referrers.Index) error {
			_, err := x.Rebuild(ctx, repository, func() {})
			return err
		},
		"repair": func(ctx context.Context, x *referrers.Index) error {
			_, err := x.Verify(ctx, repository, true, func() {})
			return err
		},
	}
	for name, act := range acts {
		points := countPoints(t, name)
		for _, store := range stores {
			w := newWorld(t, store)
			tree, want := w.all(t)
			t.Run(name+" on "+store, func(t *testing.T) {
				t.Parallel()
				points.sweep(t, tree, func(t *testing.T, y *try) {
					x := referrers.New(y.driver, referrers.Options{Types: harness.ManifestTypes(), Concurrency: 1})
					defer x.Close(t.Context())
					var err error
					y.run(t, func(ctx context.Context) { err = act(ctx, x) })
					if err != nil {
						if err := act(t.Context(), x); err != nil {
							t.Fatalf("%v: done again: %v", y.hit, err)
						}
					}
					faults, err := x.Verify(t.Context(), repository, false, func() {})
					if err != nil || len(faults) > 0 {
						t.Errorf("%v: there is something left to repair: %v %v", y.hit, err, faults)
					}
					other := referrers.New(y.tree, referrers.Options{Types: harness.ManifestTypes()})
					defer other.Close(t.Context())
					expectSet(t, y, other, w.subject.Digest, want)
				})
			})
		}
	}
}

// Whatever goes wrong in a collection, everything that tagged manifests need stays, no
// listing names what is gone, and repeating it removes what the first run would have.
func TestCollect(t *testing.T) {
	t.Parallel()
	points := countPoints(t, "collect")
	for _, store := range stores {
		w := newWorld(t, store)
		tree := w.withGarbage(t)
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			options := gc.Options{Untagged: true, Concurrency: 1, Reach: harness.ManifestTypes().Reach}
			clean := tree.Clone()
			if _, err := gc.Collect(t.Context(), clean, options); err != nil {
				t.Fatal(err)
			}
			want := len(clean.Files())
			if want >= len(tree.Files()) {
				t.Fatal("there is nothing to collect")
			}
			points.sweep(t, tree, func(t *testing.T, y *try) {
				var err error
				y.run(t, func(ctx context.Context) { _, err = gc.Collect(ctx, y.driver, options) })
				r := replica(t, y.tree)
				w.listed(t, r, "")
				for _, k := range w.kinds() {
					if k.referrer && !pullable(t, r, k.manifest) {
						t.Errorf("%v: %s is gone", y.hit, k.name)
					}
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if err == nil && y.fault != faultdriver.Late {
					return
				}
				if _, err := gc.Collect(t.Context(), y.driver, options); err != nil {
					t.Fatalf("%v: collected again: %v", y.hit, err)
				}
				if files := y.tree.Files(); len(files) > want+2 { // the files of the index that are derived
					t.Errorf("%v: %d files are left instead of %d", y.hit, len(files), want)
				}
			})
		})
	}
}

// withGarbage is the tree with manifests of all kinds, and with one image with a referrer
// that no tag needs.
func (w *world) withGarbage(t *testing.T) *faultdriver.Objects {
	t.Helper()
	tree := w.tree.Clone()
	r := inprocess.Start(t, tree, inprocess.Options{})
	for _, k := range w.kinds() {
		if k.referrer && k.tag == "" {
			w.before = append(w.before, r.MustPush(repository, "", k.manifest).Digest)
		}
	}
	garbage := r.PushImage(repository, "", "garbage")
	r.MustPush(repository, "", harness.ORASArtifact("sbom/garbage", w.blob).To(garbage))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return tree
}
