package promises_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// walked is a storage whose walks cost an operation for each folder and each file, as on
// filesystems.
type walked struct{ *faultdriver.Driver }

// Walk implements storagedriver.StorageDriver.
func (w walked) Walk(ctx context.Context, path string, visit storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	return storagedriver.WalkFallback(ctx, w.Driver, path, visit, options...)
}

// The repository of the tests below: this many subjects, each with one referrer, and
// otherwise images without referrers.
const (
	manifests = 60_000
	subjects  = 15_000
)

// large is a storage with that repository, which a registry has served before, and
// its subjects.
func large(t *testing.T) (walked, []harness.Descriptor) {
	t.Helper()
	storage := walked{faultdriver.New(inmemory.New())}
	seed := harness.NewDriverSeed(t, storage, "app")
	config := seed.Blob([]byte("{}"))
	list := make([]harness.Descriptor, subjects)
	seed.Many(manifests-subjects, func(i int) {
		image := seed.Manifest(harness.OCIImage(config).Annotated("number", fmt.Sprint(i)))
		if i < subjects {
			list[i] = image
			seed.Referrer(numbered(image, i))
		}
	})
	before := inprocess.Start(t, storage, inprocess.Options{Wait: "5m"})
	expectOne(t, before.Client, list[0])
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	storage.Reset()
	return storage, list
}

// expectOne lists the one referrer of a subject, and returns how long that took.
func expectOne(t *testing.T, c *harness.Client, subject harness.Descriptor) time.Duration {
	t.Helper()
	began := time.Now()
	page := c.Page(harness.OCI, harness.OCI.Path("app", subject.Digest))
	took := time.Since(began)
	if len(page.Entries) != 1 {
		t.Fatalf("%d referrers are listed", len(page.Entries))
	}
	return took
}

// summed is a text with the number of operations of each kind.
func summed(operations []faultdriver.Operation) string {
	counts := map[string]int{}
	for _, o := range operations {
		counts[o.Method]++
	}
	return fmt.Sprint(len(operations), " operations: ", counts)
}

// A new process gives its first answer within a second, although the repository has
// 60,000 manifests and each storage operation takes a millisecond. Listings are equally
// fast if what is known about the repository does not fit into memory.
func TestLargeRepositoryIsReady(t *testing.T) {
	storage, subjects := large(t)
	t.Run("first answer", func(t *testing.T) {
		r := inprocess.Start(t, storage, inprocess.Options{Wait: "2s"})
		storage.Reset()
		storage.Delay(time.Millisecond)
		defer storage.Delay(0)
		// Ready takes three operations, the listing three and one for each referrer.
		took := expectOne(t, r.Client, subjects[0])
		operations := storage.Operations()
		if len(operations) > 3+3+1 || took > time.Second {
			t.Errorf("the first answer took %s and %s", took, summed(operations))
		}
	})
	t.Run("small cache", func(t *testing.T) {
		const listings, each = 50, 10 // operations, those in the background included
		r := inprocess.Start(t, storage, inprocess.Options{Wait: "5m", CacheSize: 2 << 20})
		expectOne(t, r.Client, subjects[0])
		storage.Reset()
		var took time.Duration
		listed := 0
		for ; listed < listings && storage.Count() <= listings*each; listed++ {
			took += expectOne(t, r.Client, subjects[rand.IntN(len(subjects))])
		}
		operations := storage.Operations()
		if took /= time.Duration(listed); len(operations) > listings*each || took > 5*time.Millisecond {
			t.Errorf("%d listings took %s each, and %s", listed, took, summed(operations))
		}
		for _, o := range operations {
			if o.Path == layout.Revisions("app")+"/sha256" {
				t.Fatalf("a listing reads the names of all manifests: %s", o)
			}
		}
	})
}
