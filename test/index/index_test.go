package index_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// A tree without an index is indexed on request, whatever it contains.
func TestScan(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, store(t)}
			want := []digest.Digest{
				tree.store(repository, artifact(0)), tree.store(repository, artifact(1)),
				tree.store(repository, harness.OCIIndex().To(subject)), tree.store(repository, harness.OCIArtifact("a/b").To(subject)),
			}
			tree.store(repository, other(0))
			tree.store("other/app", artifact(7))
			tree.store("team/app/below", artifact(8))
			docker := harness.DockerImage(subject).To(subject) // Docker's manifests know no subject
			tree.store(repository, docker)
			tree.store(repository, harness.Manifest{ContentType: harness.MediaTypeOCIImage, Raw: []byte(`not JSON`)})
			tree.store(repository, harness.Manifest{ContentType: harness.MediaTypeOCIImage, Raw: []byte(`{"schemaVersion":2,"subject":"nonsense","config":{}}`)})
			gone := artifact(9)
			tree.put(layout.RevisionLink(repository, gone.Digest()), gone.Digest().String()) // the bytes are lost
			torn := artifact(10)
			tree.put(layout.RevisionLink(repository, torn.Digest()), torn.Digest().String())
			tree.put(layout.BlobData(torn.Digest()), string(torn.Bytes()[:20]))
			tree.put(layout.Revisions(repository)+"/sha256/stray", "a file where none should be")
			tree.put(layout.Revision(repository, digest.FromString("x"))+"/ref/sha256/"+digest.FromString("y").Encoded()+"/link", "an earlier layout's")

			x := open(t, tree.StorageDriver, referrers.Options{})
			expect(t, x, want)
			if list := listOf(t, x, "other/app", subject.Digest); !slices.Equal(list, []digest.Digest{artifact(7).Digest()}) {
				t.Errorf("in the other repository: %s", list)
			}
			if list := listOf(t, x, "nobody/here", subject.Digest); len(list) > 0 {
				t.Errorf("in no repository: %s", list)
			}

			// A manifest that was broken and is repaired is listed.
			tree.put(layout.BlobData(torn.Digest()), string(torn.Bytes()))
			again := open(t, tree.StorageDriver, referrers.Options{})
			expect(t, again, append(want, torn.Digest()))
		})
	}
}

// quiet is an observer of an index that has nothing to do and nothing to complain of.
type quiet struct{ *testing.T }

func (quiet) Skipped(string, digest.Digest, digest.Digest, error) {}
func (quiet) Scanned(string, referrers.ScanResult)                {}
func (q quiet) Linked(_ string, links int)                        { q.Errorf("%d manifests are linked", links) }

func (q quiet) Failed(_ string, err error) { q.Errorf("reported as a failure: %v", err) }

// In read-only mode nothing is written, which is no failure, and the answers are still
// right.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, store(t)}
			want := tree.fill(4, 3)
			want = append(want, tree.store(repository, artifact(100)), tree.store(repository, artifact(101))) // not linked
			tree.remove(layout.Revision(repository, want[0]))                                                 // but linked
			driver := faultdriver.New(tree.StorageDriver)
			x := newIndex(layout.ReadOnly{StorageDriver: driver}, referrers.Options{Observer: quiet{t}})
			expect(t, x, want[1:])
			expect(t, x, want[1:])
			x.PrepareAll(func(_ context.Context, found func(string) error) error { return found(repository) }, func(referrers.Progress) {})
			if result, err := x.Rebuild(t.Context(), repository, func() {}); err != nil || result.Added != 2 {
				t.Errorf("a rebuild would make %d links of 2: %v", result.Added, err)
			}
			if err := x.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if err := x.Close(t.Context()); err != nil {
				t.Error(err)
			}
			for _, o := range driver.Operations() {
				if o.Writes() {
					t.Errorf("read-only, but: %s", o)
				}
			}
		})
	}
}

// A repository that cannot be prepared in time is not answered with a short list, and
// answers when the storage does. The test counts goroutines, and so runs alone.
func TestNotReady(t *testing.T) {
	tree := tree{t, faultdriver.NewObjects("objects")}
	want := []digest.Digest{tree.store(repository, artifact(0)), tree.store(repository, artifact(1))}
	driver := faultdriver.New(tree.StorageDriver)
	release := make(chan struct{})
	driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
		if o.Path == layout.BlobData(want[0]) {
			<-release
		}
		return faultdriver.None
	})
	x := open(t, driver, referrers.Options{Wait: time.Millisecond})
	goroutines := runtime.NumGoroutine()
	const asked = 50
	for range asked {
		set, err := x.Referrers(t.Context(), repository, subject.Digest)
		var notReady referrers.NotReadyError
		if !errors.As(err, &notReady) {
			t.Fatalf("answered %v, %v", set, err)
		}
		if notReady.Repository != repository || notReady.RetryAfter < time.Second {
			t.Errorf("the error says %+v", notReady)
		}
	}
	if now := runtime.NumGoroutine(); now > goroutines+asked/2 {
		t.Errorf("%d callers left %d goroutines behind", asked, now-goroutines)
	}
	close(release)
	waitUntil(t, func() bool {
		set, err := x.Referrers(t.Context(), repository, subject.Digest)
		return err == nil && len(set.Referrers) == len(want)
	})
	if n := count(driver, layout.BlobData(want[1])); n > 2 {
		t.Errorf("a manifest was read %d times: the scan did not continue, but started again", n)
	}
}

func count(driver *faultdriver.Driver, path string) (n int) {
	for _, o := range driver.Operations() {
		if o.Method == "Reader" && o.Path == path {
			n++
		}
	}
	return n
}

// waitUntil waits for work in the background.
func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

// When a caller gives up, operations that hang for it end, and leave nothing behind.
func TestCancel(t *testing.T) {
	t.Parallel()
	driver := faultdriver.New(faultdriver.NewObjects("objects"))
	tree{t, driver}.fill(5, 0)
	x := open(t, driver, referrers.Options{})
	want := list(t, x)
	for k := 1; ; k++ {
		driver.Reset()
		driver.FailAt(k, faultdriver.Hang)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := x.Referrers(ctx, repository, subject.Digest)
			ended <- err
		}()
		select {
		case <-driver.Waiting():
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("at operation %d: %v", k, err)
			}
		case err := <-ended:
			cancel()
			driver.Reset()
			if err != nil || k == 1 {
				t.Fatalf("at operation %d: %v", k, err)
			}
			return
		}
		driver.Reset()
		expect(t, x, want)
	}
}

// Any number of replicas on one tree list what any of them has added, and no longer list
// what any of them has deleted, in their very next answer.
func TestReplicas(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, store(t)}
			want := tree.fill(3, 0)
			var replicas []*referrers.Index
			for range 3 {
				x := open(t, tree.StorageDriver, referrers.Options{})
				expect(t, x, want)
				replicas = append(replicas, x)
			}
			for i := range 12 {
				writer := replicas[i%len(replicas)]
				if i%3 == 2 {
					gone := want[0]
					remove(t, tree, writer, gone)
					want = want[1:]
				} else {
					d := tree.store(repository, artifact(100+i))
					if err := writer.Add(t.Context(), repository, subject.Digest, d); err != nil {
						t.Fatal(err)
					}
					writer.Pushed(repository, d, artifact(100+i).ContentType, subject.Digest)
					want = append(want, d)
				}
				if i%5 == 4 {
					if err := writer.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
				for _, x := range replicas {
					expect(t, x, want)
				}
			}
		})
	}
}

// remove deletes a referrer of the subject as a registry does.
func remove(t testing.TB, tree tree, x *referrers.Index, d digest.Digest) {
	t.Helper()
	err := x.Delete(context.Background(), repository, d, subject.Digest, func() error {
		return tree.Delete(context.Background(), layout.RevisionLink(repository, d))
	})
	if err != nil {
		t.Error(err)
	}
}

// Listings while the same manifests are pushed and deleted everywhere never contain a
// manifest that does not exist; in the end they contain what was acknowledged.
func TestRaces(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := tree{t, store(t)}
			stays := tree.fill(3, 0)
			replicas := []*referrers.Index{open(t, tree.StorageDriver, referrers.Options{}), open(t, tree.StorageDriver, referrers.Options{})}
			for _, x := range replicas {
				expect(t, x, stays)
			}
			var work sync.WaitGroup
			const each, rounds = 3, 20
			for i := range each {
				work.Go(func() {
					x, m := replicas[i%len(replicas)], artifact(100+i)
					for round := range rounds {
						d := tree.store(repository, m)
						if err := x.Add(context.Background(), repository, subject.Digest, d); err != nil {
							t.Error(err)
						}
						look := func() []digest.Digest {
							set, err := replicas[(i+1)%len(replicas)].Referrers(context.Background(), repository, subject.Digest)
							if err != nil {
								t.Error(err)
								return nil
							}
							return digests(set)
						}
						if !slices.Contains(look(), d) {
							t.Errorf("round %d: acknowledged, but not listed", round)
						}
						if round < rounds-1 {
							remove(t, tree, x, d)
							if slices.Contains(look(), d) {
								t.Errorf("round %d: deleted, but listed", round)
							}
						}
					}
				})
			}
			work.Wait()
			for i := range each {
				stays = append(stays, artifact(100+i).Digest())
			}
			for _, x := range append(replicas, open(t, tree.StorageDriver, referrers.Options{})) {
				expect(t, x, stays)
			}
		})
	}
}

// What is known about subjects stays within its memory limit, and what was evicted is
// answered from the storage. The test measures the whole process, and so runs alone.
func TestMemory(t *testing.T) {
	tree := tree{t, faultdriver.NewObjects("objects")}
	x := open(t, layout.ReadOnly{StorageDriver: tree.StorageDriver}, referrers.Options{CacheSize: 1 << 20})
	subjects := func(n int, look func(harness.Descriptor)) {
		for i := range n {
			look(harness.Descriptor{MediaType: subject.MediaType, Digest: digest.FromString(fmt.Sprint(i)), Size: 7})
		}
	}
	const few = 20
	subjects(few, func(s harness.Descriptor) { tree.attach(repository, artifact(0).To(s)) })
	heap := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	subjects(few, func(s harness.Descriptor) { listOf(t, x, repository, s.Digest) })
	before := heap()
	subjects(50_000, func(s harness.Descriptor) { listOf(t, x, repository, s.Digest) })
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("a cache of one mebibyte has grown by %d bytes", grown)
	}
	subjects(few, func(s harness.Descriptor) {
		if n := len(listOf(t, x, repository, s.Digest)); n != 1 {
			t.Errorf("listed are %d", n)
		}
	})
}
