// Package promises_test tries to break the promises of SECURITY.md from outside: with
// uncounted memory, other processes on the same tree, backups, clocks and slow storage.
package promises_test

import (
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

var patience = flag.Duration("promises.attack", 15*time.Second, "how long one attack on the memory lasts at most")

// The resident set stays below twice extensions.referrers.cachesize, which is 64 MiB by
// default, plus 128 MiB. After an attack it returns to the size of the cache, which may be
// full, plus 128 MiB: within calm, while ordinary requests continue.
const (
	most = 2*64 + 128
	rest = 64 + 128
	calm = 20 * time.Second
)

// victim is a registry that is attacked. It logs no requests, so that its log takes no
// memory here.
func victim(t *testing.T) *harness.Registry {
	t.Helper()
	return harness.Start(t, harness.Options{Config: "log: {accesslog: {disabled: true}}"})
}

// attack sends one request after another, until the registry has used more memory than it
// may, or until the time is over.
func attack(t *testing.T, r *harness.Registry, count int, ask func(i int)) {
	t.Helper()
	began := time.Now()
	asked := 0
	for ; asked < count && time.Since(began) < *patience && r.PeakMemory() < harness.MiB(most); asked++ {
		ask(asked)
	}
	if peak := r.PeakMemory(); peak >= harness.MiB(most) {
		t.Errorf("%d MiB of memory after %d requests", peak>>20, asked)
	}
	t.Logf("%d requests in %s: at most %d MiB, now %d MiB", asked, time.Since(began).Round(time.Millisecond), r.PeakMemory()>>20, r.Memory()>>20)
}

// expectCalm expects the memory to shrink while a client sends ordinary requests.
func expectCalm(t *testing.T, r *harness.Registry, ask func()) {
	t.Helper()
	began := time.Now()
	for r.Memory() > harness.MiB(rest) {
		if time.Since(began) > calm {
			t.Errorf("still %d MiB of memory %s after the attack", r.Memory()>>20, calm)
			return
		}
		ask()
	}
	t.Logf("%d MiB of memory %s after the attack", r.Memory()>>20, time.Since(began).Round(time.Millisecond))
}

// padded is a different text for each number, of at least the given size.
func padded(i, size int) string { return fmt.Sprintf("%d-%s", i, strings.Repeat("x", size)) }

func absent(i int) digest.Digest { return digest.FromString(fmt.Sprint("absent", i, rand.Int())) }

// Requests for the referrers of subjects that do not exist leave nothing in memory, with
// queries of any size.
func TestWhatDoesNotExistTakesNoMemory(t *testing.T) {
	t.Parallel()
	for _, asked := range []struct {
		name, repository string
		size, count      int
		status           int
	}{
		{"no repository, 1 MB", "nosuch/repo", 1_000_000, 2_000, http.StatusRequestURITooLong},
		{"no repository, 8 kB", "nosuch/repo", 8_000, 10_000, http.StatusOK},
		{"no subject, 8 kB", "app", 8_000, 10_000, http.StatusOK},
	} {
		t.Run(asked.name, func(t *testing.T) {
			t.Parallel()
			r := victim(t)
			c := r.Client()
			image := c.PushImage("app", "v1", "layer")
			c.MustPush("app", "", harness.ORASArtifact("a/b").To(image))
			answers := map[int]int{}
			attack(t, r, asked.count, func(i int) {
				answers[c.Get(harness.OCI.With(asked.repository, absent(i), "artifactType", padded(i, asked.size))).Status]++
			})
			if len(answers) != 1 || answers[asked.status] == 0 {
				t.Errorf("the answers, by status: %v, expected only %d", answers, asked.status)
			}
			expectCalm(t, r, func() { c.Referrers(harness.OCI, "app", image.Digest) })
		})
	}
}

// The size of a page includes the query that is its key.
func TestQueriesAreCounted(t *testing.T) {
	t.Parallel()
	r := victim(t)
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	seed := harness.NewSeed(t, r.Root, "app")
	config := seed.Blob([]byte("{}"))
	seed.Many(1500, func(i int) {
		seed.Referrer(harness.OCIImage(config).Typed("a/b").To(image).Annotated("number", fmt.Sprint(i)))
	})
	c.Referrers(harness.OCI, "app", image.Digest)
	next := ""
	attack(t, r, 5_000, func(i int) {
		path := next
		if path == "" || i%2 == 1 {
			query := []string{"artifactType", padded(i, 3900), "artifactType", "a/b", "artifactType", padded(-i, 3900), "n", fmt.Sprint(1 + i%3)}
			path = harness.OCI.With("app", image.Digest, query...)
		}
		next = c.Page(harness.OCI, path).Next()
	})
	expectCalm(t, r, func() { c.Page(harness.OCI, harness.OCI.With("app", image.Digest, "n", "10")) })
}

// awaitReady requests a listing until the registry has prepared the repository.
func awaitReady(c *harness.Client, repository string, subject digest.Digest) {
	for c.Get(harness.OCI.With(repository, subject, "n", "1")).Status == http.StatusServiceUnavailable {
		// It has waited before it said so.
	}
}

// The size of a descriptor includes its texts, however long.
func TestLongArtifactTypesAreCounted(t *testing.T) {
	t.Parallel()
	const count = 1500
	r := victim(t)
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	seed := harness.NewSeed(t, r.Root, "app")
	config := seed.Blob([]byte("{}"))
	seed.Many(count, func(i int) {
		seed.Referrer(harness.OCIImage(config).Typed(padded(i, 250_000)).To(image))
	})
	awaitReady(c, "app", image.Digest)
	next := ""
	attack(t, r, 2_000, func(i int) {
		if i%2 == 0 {
			c.Page(harness.OCI, harness.OCI.With("app", image.Digest, "artifactType", padded(i, 100)))
			return
		}
		if next == "" {
			next = harness.OCI.With("app", image.Digest, "n", fmt.Sprint(1+i%16))
		}
		page := c.Page(harness.OCI, next)
		if len(page.Entries) == 0 {
			t.Errorf("an empty page: %s", page)
		}
		next = page.Next()
	})
	other := c.MustPush("other", "v1", harness.OCIIndex())
	expectCalm(t, r, func() { c.Referrers(harness.OCI, "other", other.Digest) })
}

// A listing of the largest manifests neither keeps their bytes in memory nor leaves them
// in derived files.
func TestLargeManifestsAreCounted(t *testing.T) {
	t.Parallel()
	const count, size, starts = 120, 3_900_000, 2
	r := victim(t)
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	seed := harness.NewSeed(t, r.Root, "app")
	config := seed.Blob([]byte("{}"))
	other := c.MustPush("other", "v1", harness.OCIIndex())
	layers := make([]harness.Descriptor, size/len(`{"mediaType":"application/octet-stream","digest":"","size":2},`+config.Digest))
	for i := range layers {
		layers[i] = config
	}
	seed.Many(count, func(i int) {
		m := harness.OCIImage(config, layers...)
		if i%2 == 0 {
			m = harness.OCIImage(config).Annotated("long", strings.Repeat("x", size))
		}
		seed.Referrer(m.Typed("a/b").To(image).Annotated("number", fmt.Sprint(i)))
	})
	for range starts {
		r.Restart()
		c := r.Client()
		attack(t, r, 2, func(int) {
			awaitReady(c, "app", image.Digest)
			if found := c.Referrers(harness.OCI, "app", image.Digest); len(found) != count {
				t.Errorf("%d referrers are listed", len(found))
			}
		})
		expectCalm(t, r, func() { c.Referrers(harness.OCI, "other", other.Digest) })
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	if stored := sizeOf(t, filepath.Join(r.Root, layout.Derived("app"))); stored > count*64<<10 {
		t.Errorf("%d MiB in derived files, of %d referrers", stored>>20, count)
	}
}

// sizeOf is how many bytes are in the files of a folder.
func sizeOf(t *testing.T, folder string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		size += info.Size()
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return size
}
