package index_test

import (
	"context"
	"flag"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
)

var (
	latency          = flag.Duration("index.latency", 20*time.Millisecond, "how long a storage operation takes in TestLatency")
	latencyManifests = flag.Int("index.stored", 2_000, "how many manifests are in the repository of TestLatency")
)

// What goes through a whole repository has 16 storage operations under way at a time, so that
// it takes a sixteenth of what it costs. The time is virtual.
func TestLatency(t *testing.T) {
	t.Parallel()
	store := faultdriver.NewObjects("objects")
	n := *latencyManifests
	synctest.Test(t, func(t *testing.T) {
		tree := tree{t, store}
		for i := range n {
			if i%10 == 0 {
				tree.store(repository, other(i))
			} else {
				tree.store(repository, artifact(i))
			}
		}
		time.Sleep(30 * 365 * 24 * time.Hour) // the clock of the store is ahead of the one here
		driver := faultdriver.New(store)
		driver.Plan(func(int, faultdriver.Operation) faultdriver.Fault {
			time.Sleep(*latency)
			return faultdriver.None
		})
		for _, step := range steps(open(t, driver, referrers.Options{Wait: 1000 * time.Hour}), driver) {
			began := time.Now()
			if err := step.do(t.Context()); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			took := time.Since(began)
			t.Logf("%s: %s", step.name, took.Round(time.Millisecond))
			if waits := int(took / *latency); waits > n*step.cost/16+300 {
				t.Errorf("%s waits for %d operations, one after the other, with %d manifests", step.name, waits, n)
			}
		}
	})
	if left, err := store.List(t.Context(), layout.Revisions(repository)+"/sha256"); err == nil && len(left) > 0 {
		t.Errorf("%d manifests are left", len(left))
	}
}

// step is something that takes time.
type step struct {
	name string
	cost int // storage operations for each manifest, at most
	do   func(context.Context) error
}

// steps go through the life of a repository that nobody has indexed.
func steps(x *referrers.Index, driver storagedriver.StorageDriver) []step {
	list := func(of digest.Digest) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := x.Referrers(ctx, repository, of)
			return err
		}
	}
	collect := func(options gc.Options) func(context.Context) error {
		options.Reach = harness.ManifestTypes().Reach
		return func(ctx context.Context) error {
			_, err := gc.Collect(ctx, driver, options)
			return err
		}
	}
	first := 5
	if *latencyManifests > 20_000 {
		first = 7 // what there is no room for is read twice
	}
	return []step{
		{"the first listing, when nothing is known", first, list(subject.Digest)},
		{"repeated", 0, list(subject.Digest)},
		{"a listing of another subject", 0, list(digest.FromString("another"))},
		{"referrers rebuild", 4, func(ctx context.Context) error {
			_, err := x.Rebuild(ctx, repository, func() {})
			return err
		}},
		{"referrers verify", 4, func(ctx context.Context) error {
			_, err := x.Verify(ctx, repository, false, func() {})
			return err
		}},
		{"garbage-collect --dry-run", 3, collect(gc.Options{DryRun: true})},
		{"garbage-collect", 3, collect(gc.Options{})},
		{"garbage-collect --delete-untagged", 8, collect(gc.Options{Untagged: true})},
	}
}
