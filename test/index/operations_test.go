package index_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
)

// The storage operations of a listing depend neither on the number of referrers nor on
// the other content of the repository.
func TestOperations(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		for _, size := range []struct{ referrers, others int }{{1, 0}, {10, 0}, {10, 300}, {300, 0}, {300, 300}} {
			t.Run(fmt.Sprintf("%s/%d of %d", name, size.referrers, size.referrers+size.others), func(t *testing.T) {
				t.Parallel()
				driver := faultdriver.New(store(t))
				tree{t, driver}.fill(size.referrers, size.others)
				const concurrency = 8
				options := referrers.Options{Concurrency: concurrency}

				first := open(t, driver, options)
				driver.Reset()
				if n := len(list(t, first)); n != size.referrers {
					t.Fatalf("listed are %d", n)
				}
				reads := map[string]int{}
				for _, o := range driver.Operations() {
					if o.Method == "Reader" && strings.HasPrefix(o.Path, layout.Blobs) {
						reads[o.Path]++
					}
				}
				for path, n := range reads {
					if n > 1 {
						t.Errorf("the first listing reads %s %d times", path, n)
					}
				}
				if len(reads) != size.referrers {
					t.Errorf("the first listing reads %d manifests instead of %d", len(reads), size.referrers)
				}
				if most := driver.MostAtOnce(); most > concurrency {
					t.Errorf("the first listing runs %d operations at once", most)
				}

				expectCost(t, driver, "warm", 1, func() { list(t, first) })
				if err := first.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				second := open(t, driver, options)
				expectCost(t, driver, "cold", 5+size.referrers, func() {
					if n := len(list(t, second)); n != size.referrers {
						t.Fatalf("listed are %d", n)
					}
				})
				expectCost(t, driver, "warm", 1, func() { list(t, second) })
				expectCost(t, driver, "another subject's", 2, func() {
					listOf(t, second, repository, digest.FromString("somebody"))
				})
			})
		}
	}
}

// expectCost limits the operations of act. Background writes of the index are not part of
// a request.
func expectCost(t *testing.T, driver *faultdriver.Driver, what string, most int, act func()) {
	t.Helper()
	driver.Reset()
	act()
	if list := driver.Operations(); len(list) > most {
		t.Errorf("a %s listing costs %d operations, at most %d are allowed: %v", what, len(list), most, list)
	}
}

// If a repository is ready, the first listing of a subject reads its folder and its
// summary, and checks each referrer. A new process needs three more operations to prepare
// the repository, whatever else it contains.
func TestColdListing(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := faultdriver.New(store(t))
			tree{t, driver}.fill(20, 100)
			warmed := open(t, driver, referrers.Options{})
			list(t, warmed)
			if err := warmed.Close(t.Context()); err != nil { // writes the summary
				t.Fatal(err)
			}
			x := open(t, driver, referrers.Options{})
			expectCost(t, driver, "first", 3+2, func() { listOf(t, x, repository, digest.FromString("nobody")) })
			expectCost(t, driver, "cold", 2+20, func() { list(t, x) })
			expectCost(t, driver, "warm", 1, func() { list(t, x) })
		})
	}
}

// A push or delete of one referrer costs no more than that referrer.
func TestChangedListing(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := faultdriver.New(store(t))
			want := tree{t, driver}.fill(10, 10)
			x := open(t, driver, referrers.Options{})
			list(t, x)
			want = append(want, tree{t, driver}.attach(repository, artifact(10)))
			expectCost(t, driver, "changed", 3, func() { expect(t, x, want) })
			expectCost(t, driver, "warm", 1, func() { expect(t, x, want) })
			if err := driver.Delete(t.Context(), layout.Referrer(repository, subject.Digest, want[0])); err != nil {
				t.Fatal(err)
			}
			expectCost(t, driver, "changed", 1, func() { expect(t, x, want[1:]) })
		})
	}
}

// A delete by the same process costs the next listing nothing.
func TestListingAfterDelete(t *testing.T) {
	t.Parallel()
	driver := faultdriver.New(faultdriver.NewObjects("objects"))
	want := tree{t, driver}.fill(10, 10)
	x := open(t, driver, referrers.Options{})
	list(t, x)
	err := x.Delete(t.Context(), repository, want[0], subject.Digest, func() error {
		return driver.Delete(t.Context(), layout.Revision(repository, want[0]))
	})
	if err != nil {
		t.Fatal(err)
	}
	expectCost(t, driver, "changed", 1, func() { expect(t, x, want[1:]) })
	tree{t, driver}.attach(repository, artifact(0))
	expectCost(t, driver, "changed", 3, func() { expect(t, x, want) })
}

// The first listing of a tree that was never indexed reads each manifest once.
func TestNeverIndexed(t *testing.T) {
	t.Parallel()
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := faultdriver.New(store(t))
			tree := tree{t, driver}
			for i := range 50 {
				tree.store(repository, artifact(i))
				tree.store(repository, other(i))
			}
			driver.Reset()
			if n := len(list(t, open(t, driver, referrers.Options{}))); n != 50 {
				t.Errorf("listed are %d", n)
			}
			reads := map[string]int{}
			for _, o := range driver.Operations() {
				if o.Method == "Reader" && strings.HasPrefix(o.Path, layout.Blobs) {
					if reads[o.Path]++; reads[o.Path] > 1 {
						t.Errorf("%s is read more than once", o.Path)
					}
				}
			}
			if len(reads) != 100 {
				t.Errorf("%d manifests are read", len(reads))
			}
		})
	}
}

// Requests at the same time share the work.
func TestShared(t *testing.T) {
	t.Parallel()
	driver := faultdriver.New(faultdriver.NewObjects("objects"))
	want := tree{t, driver}.fill(20, 0)
	x := open(t, driver, referrers.Options{})
	driver.Reset()
	release := make(chan struct{})
	driver.Plan(func(int, faultdriver.Operation) faultdriver.Fault {
		<-release
		return faultdriver.None
	})
	const callers = 50
	done := make(chan int, callers)
	for range callers {
		go func() {
			set, err := x.Referrers(t.Context(), repository, subject.Digest)
			if err != nil {
				t.Error(err)
				done <- 0
				return
			}
			done <- len(set.Referrers)
		}()
	}
	close(release)
	for range callers {
		if n := <-done; n != len(want) {
			t.Errorf("listed are %d of %d", n, len(want))
		}
	}
	reads := 0
	for _, o := range driver.Operations() {
		if o.Method == "Reader" && strings.HasPrefix(o.Path, layout.Blobs) {
			reads++
		}
	}
	if reads != len(want) {
		t.Errorf("%d callers read %d manifests for a list of %d", callers, reads, len(want))
	}
}

var coldManifests = flag.Int("index.manifests", 10_000, "how many manifests are in the repository of TestColdListingWaits")

// A new process answers for a subject with 10 referrers, however many manifests are in its
// repository, within the time of six storage operations.
func TestColdListingWaits(t *testing.T) {
	t.Parallel()
	store := faultdriver.NewObjects("objects")
	tree := tree{t, store}
	var want []digest.Digest
	for i := range 10 {
		want = append(want, tree.attach(repository, artifact(i)))
	}
	for i := range *coldManifests - len(want) {
		tree.store(repository, other(i))
	}
	warmed := open(t, store, referrers.Options{Wait: time.Hour})
	expect(t, warmed, want)
	if err := warmed.Close(t.Context()); err != nil { // writes what it knows
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		const wait = 20 * time.Millisecond
		driver := faultdriver.New(store)
		driver.Plan(func(int, faultdriver.Operation) faultdriver.Fault {
			time.Sleep(wait)
			return faultdriver.None
		})
		x := open(t, driver, referrers.Options{Wait: time.Hour})
		for _, listing := range []struct {
			name  string
			waits time.Duration
		}{{"first", 6}, {"second", 1}} {
			began := time.Now()
			expect(t, x, want)
			if waits := time.Since(began) / wait; waits > listing.waits {
				t.Errorf("the %s listing waits for %d operations, one after the other, at most %d are allowed", listing.name, waits, listing.waits)
			} else {
				t.Logf("the %s listing waits for %d operations", listing.name, waits)
			}
		}
	})
}
