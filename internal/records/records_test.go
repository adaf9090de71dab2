package records_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/records"
)

func drivers(t *testing.T) map[string]storagedriver.StorageDriver {
	return map[string]storagedriver.StorageDriver{
		"filesystem": filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 100}),
		"inmemory":   inmemory.New(),
	}
}

func expect(t *testing.T, r *records.Records, content string, at time.Time) {
	t.Helper()
	got, gotAt, err := r.Newest(t.Context(), "some/repo", "tags/v1")
	if err != nil || string(got) != content || !gotAt.Equal(at) {
		t.Errorf("the newest record is %q of %v (%v), not %q of %v", got, gotAt, err, content, at)
	}
}

func TestNewest(t *testing.T) {
	for name, driver := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			r, other := records.New(driver, "one"), records.New(driver, "two")
			first, second := time.Unix(1000, 1), time.Unix(1000, 2)
			expect(t, r, "", time.Time{})
			for content, at := range map[string]time.Time{"second": second, "first": first} {
				if err := r.Add(ctx, "some/repo", "tags/v1", []byte(content), at); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, r, "second", second)
			expect(t, other, "", time.Time{})
			if err := r.Add(ctx, "some/repo", "tags/v1", []byte("third"), second.Add(1)); err != nil {
				t.Fatal(err)
			}
			expect(t, r, "third", second.Add(1))
			files, err := driver.List(ctx, layout.Records("some/repo", "one")+"/tags/v1")
			if err != nil || len(files) != 1 {
				t.Errorf("there are %v (%v), not only the newest", files, err)
			}
			for range 2 {
				if err := r.Remove(ctx, "some/repo", "tags/v1"); err != nil {
					t.Error(err)
				}
			}
			expect(t, r, "", time.Time{})
		})
	}
}

func TestKeys(t *testing.T) {
	r := records.New(inmemory.New(), "one")
	for _, key := range []string{"", "/", "a/", "../a", "a/../b", "a/./b", "a b", "/a"} {
		if err := r.Add(t.Context(), "some/repo", key, nil, time.Now()); err == nil || !strings.Contains(err.Error(), "is not a key") {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// Replicas that add records at once lose none that is newer, and a reader always finds one.
func TestReplicas(t *testing.T) {
	for name, driver := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			add := func(i int) error {
				return records.New(driver, "one").Add(context.WithoutCancel(t.Context()), "some/repo", "tags/v1", []byte("x"), start.Add(time.Duration(i)))
			}
			if err := add(0); err != nil {
				t.Fatal(err)
			}
			var group sync.WaitGroup
			for i := range 40 {
				group.Go(func() {
					if err := add(i + 1); err != nil {
						t.Error(err)
					}
				})
				group.Go(func() {
					content, _, err := records.New(driver, "one").Newest(t.Context(), "some/repo", "tags/v1")
					if err != nil || len(content) == 0 {
						t.Errorf("no record was found: %q, %v", content, err)
					}
				})
			}
			group.Wait()
			expect(t, records.New(driver, "one"), "x", start.Add(40))
		})
	}
}
