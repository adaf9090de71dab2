//go:build !e2e

package online_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// leave writes what was left behind of runs: of one half of them a mark that was late, and
// of the other candidates that cannot be read.
func leave(t *testing.T, driver storagedriver.StorageDriver, count int) (names []string) {
	t.Helper()
	for n := range count {
		name := rand.Text()
		file := layout.RunMarks(name, 0) + "/0123456789abcdef"
		if n%2 == 0 {
			file = layout.RunCandidates(name)
		}
		if err := driver.PutContent(t.Context(), file, []byte("of no use")); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func active(t *testing.T, driver storagedriver.StorageDriver) layout.ActiveNames {
	t.Helper()
	paths, err := driver.List(t.Context(), layout.Active)
	if err != nil {
		t.Fatal(err)
	}
	return layout.ParseActive(paths)
}

// Many broken runs, on a storage that is slow, do not keep a replica from
// registering, and from keeping its lease; and go in the end.
func TestManyBrokenRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pace = 10 * time.Second
		store := faultdriver.NewObjects("objects")
		leave(t, store, 400)
		driver := faultdriver.New(store)
		driver.Delay(100 * time.Millisecond)
		began := time.Now()
		r := collection.NewReplica(driver, collection.Options{
			Pace: collection.Pace(pace), Clock: func() time.Duration { return time.Since(began) },
			Failed: func(err error) {
				if !strings.Contains(err.Error(), "cannot be decoded") {
					t.Error(err)
				}
			},
		})
		ctx := context.WithoutCancel(t.Context())
		defer func() {
			if err := r.Close(ctx); err != nil {
				t.Error(err)
			}
		}()
		for err := r.Start(ctx); err != nil; err = r.Poll(ctx) {
			if time.Since(began) > 10*pace {
				t.Fatalf("it has not registered after %s: %v", time.Since(began), err)
			}
		}
		for range 100 {
			if err := r.Section().Use(ctx, "app", digest.FromString("used")); err != nil {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
			time.Sleep(pace)
		}
		if left := active(t, store); len(left.Runs) > 0 {
			t.Errorf("after %s, %d runs are left", time.Since(began), len(left.Runs))
		}
	})
}

// dated is a storage on which everything was written now, except for some paths.
type dated struct {
	storagedriver.StorageDriver
	old []string
}

func (d dated) age(info storagedriver.FileInfo) storagedriver.FileInfo {
	ago := time.Duration(0)
	if slices.ContainsFunc(d.old, func(prefix string) bool { return strings.HasPrefix(info.Path(), prefix) }) {
		ago = 2 * time.Hour
	}
	return storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{
		Path: info.Path(), Size: info.Size(), IsDir: info.IsDir(), ModTime: time.Now().Add(-ago),
	}}
}

func (d dated) Stat(ctx context.Context, file string) (storagedriver.FileInfo, error) {
	info, err := d.StorageDriver.Stat(ctx, file)
	if err != nil {
		return nil, err
	}
	return d.age(info), nil
}

func (d dated) Walk(ctx context.Context, file string, f storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	return d.StorageDriver.Walk(ctx, file, func(info storagedriver.FileInfo) error { return f(d.age(info)) }, options...)
}

// A run removes what has been left behind for long, and neither what is new nor what a
// collection announces that asks nobody.
func TestRunsRemoveWhatIsLeftBehind(t *testing.T) {
	for name, store := range map[string]storagedriver.StorageDriver{
		"objects": faultdriver.NewObjects("objects"),
		"files":   filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 100}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { removesWhatIsLeftBehind(t, store) })
		})
	}
}

func removesWhatIsLeftBehind(t *testing.T, store storagedriver.StorageDriver) {
	seed := harness.NewDriverSeed(t, store, repository)
	seed.Blob([]byte("garbage"))
	old, fresh := leave(t, store, 4), leave(t, store, 2)
	announced := rand.Text()
	registration := func() string { return layout.Replica(rand.Text()) + ".0b5c6bd2-3f6b-4a83-9a54-6e0b8f4f1d11.tmp" }
	oldRest, freshRest := registration(), registration()
	for file, content := range map[string]string{layout.RunCandidates(announced): "\x02", oldRest: "", freshRest: ""} {
		if err := store.PutContent(t.Context(), file, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	driver := dated{store, []string{layout.Run(announced), oldRest}}
	for _, name := range old {
		driver.old = append(driver.old, layout.Run(name))
	}
	began := time.Now()
	result, err := collection.Collect(t.Context(), driver, collection.RunOptions{Options: collection.Options{
		Pace: collection.Pace(10 * time.Millisecond), Clock: func() time.Duration { return time.Since(began) },
	}})
	if err != nil || result.Blobs.Removed != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	left := active(t, store)
	if want := slices.Sorted(slices.Values(append(fresh, announced))); !slices.Equal(slices.Sorted(slices.Values(left.Runs)), want) {
		t.Errorf("runs that are left: %v, want %v", left.Runs, want)
	}
	if want := []string{freshRest}; !slices.Equal(left.Unfinished, want) {
		t.Errorf("rests of registrations: %v, want %v", left.Unfinished, want)
	}
}

// A replica that cannot register leaves nothing behind.
func TestRegistrationsThatFail(t *testing.T) {
	t.Parallel()
	store := faultdriver.NewObjects("objects")
	driver := faultdriver.New(store)
	for _, fault := range []faultdriver.Fault{faultdriver.Fail, faultdriver.Stray, faultdriver.Half, faultdriver.Lost} {
		driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
			if o.Method == "PutContent" {
				return fault
			}
			return faultdriver.None
		})
		r := collection.NewReplica(driver, collection.Options{})
		for range 3 {
			if err := r.Poll(t.Context()); err == nil {
				t.Fatalf("%s: it has registered", fault)
			}
		}
		if paths, err := store.List(t.Context(), layout.Active); err == nil && len(paths) > 0 {
			t.Errorf("%s: left behind are %v", fault, paths)
		}
	}
}
