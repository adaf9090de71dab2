package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// slow is a storage driver with extra latency for every operation, like an object store.
type slow struct {
	storagedriver.StorageDriver
	delay time.Duration
}

func (s slow) wait() { time.Sleep(s.delay) }

// GetContent implements storagedriver.StorageDriver.
func (s slow) GetContent(ctx context.Context, path string) ([]byte, error) {
	s.wait()
	return s.StorageDriver.GetContent(ctx, path)
}

// PutContent implements storagedriver.StorageDriver.
func (s slow) PutContent(ctx context.Context, path string, content []byte) error {
	s.wait()
	return s.StorageDriver.PutContent(ctx, path, content)
}

// Stat implements storagedriver.StorageDriver.
func (s slow) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	s.wait()
	return s.StorageDriver.Stat(ctx, path)
}

// List implements storagedriver.StorageDriver.
func (s slow) List(ctx context.Context, path string) ([]string, error) {
	s.wait()
	return s.StorageDriver.List(ctx, path)
}

// Walk implements storagedriver.StorageDriver.
func (s slow) Walk(ctx context.Context, path string, f storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	s.wait()
	return s.StorageDriver.Walk(ctx, path, f, options...)
}

// BenchmarkColdStart lists a subject for the first time in a process, and then a second
// time, on a tree of 1,000 subjects with 10 referrers each, in 100 repositories, that
// was listed before. Each storage operation takes 20 ms longer.
func BenchmarkColdStart(b *testing.B) {
	const repositories, subjectsEach, referrersEach = 100, 10, 10
	root := b.TempDir()
	driver := newDriver(root)
	var subjects [repositories][subjectsEach]digest.Digest
	warmUp := referrers.New(driver, referrers.Options{Types: harness.ManifestTypes()})
	for i := range repositories {
		name := fmt.Sprintf("bench/cold%d", i)
		seed := harness.NewSeed(b, root, name)
		config := storeConfig(seed)
		for j := range subjectsEach {
			subject := storeManifest(seed, manifestOf(b, config, "", -1-j))
			for k := range referrersEach {
				seed.Link(subject, storeManifest(seed, manifestOf(b, config, subject, k)))
			}
			subjects[i][j] = subject
			if set, err := warmUp.Referrers(context.Background(), name, subject); err != nil || len(set.Referrers) != referrersEach {
				b.Fatal(len(set.Referrers), err)
			}
		}
	}
	if err := warmUp.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	list := func(x *referrers.Index, i int) {
		i %= repositories * subjectsEach
		set, err := x.Referrers(context.Background(), fmt.Sprintf("bench/cold%d", i%repositories), subjects[i%repositories][i/repositories])
		if err != nil || len(set.Referrers) != referrersEach {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var r rounds
	for i := range b.N {
		x := referrers.New(slow{driver, 20 * time.Millisecond}, referrers.Options{Types: harness.ManifestTypes()})
		took := func() time.Duration {
			began := time.Now()
			list(x, i)
			return time.Since(began)
		}
		r.add(took(), took())
		if err := x.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	r.report(b)
}

// BenchmarkWalkPages walks 10,000 referrers in pages of 1,000, with four clients.
func BenchmarkWalkPages(b *testing.B) {
	root := b.TempDir()
	subject := seed(b, root, "bench/pages", 10_000)
	limit := &memory{}
	server := serveOurs(b, root, limit)
	first := server.URL + "/v2/bench/pages/referrers/" + subject.String() + "?n=1000"
	limit.body = body(b, first)
	list := newClients()
	duel(b, func(client int) {
		pages := 0
		for next := first; next != ""; pages++ {
			_, next = get(b, list[client], next)
		}
		if pages != 10 {
			b.Errorf("%d pages", pages)
		}
	}, func(client int) {
		for range 10 {
			get(b, list[client], server.URL+"/v2/bench/pages/memory/x")
		}
	})
}
