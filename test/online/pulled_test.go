//go:build !e2e

package online_test

import (
	"context"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/pulls"
	"github.com/oras-distribution/registry/internal/records"
	"github.com/oras-distribution/registry/internal/retention"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

const pulledRules = `{rules: [{repositories: ["team/*"], pulled: 30d}]}`

// awaitRecord waits until it is recorded that a manifest was pulled.
func awaitRecord(t *testing.T, store storagedriver.StorageDriver, d digest.Digest) {
	t.Helper()
	for {
		at, err := pulls.Open(store).Last(t.Context(), repository, d)
		if err != nil {
			t.Fatal(err)
		}
		if !at.IsZero() {
			return
		}
	}
}

// Where no rule asks for it, a pull costs nothing more, and otherwise one record for each
// manifest.
func TestOperationsOfPullsThatAreRecorded(t *testing.T) {
	t.Parallel()
	store, plain := faultdriver.NewObjects("objects"), faultdriver.New(faultdriver.NewObjects("objects"))
	driver := faultdriver.New(store)
	r := inprocess.Start(t, driver, inprocess.Options{Retention: pulledRules})
	without := inprocess.Start(t, plain, inprocess.Options{})
	pull := func(repository, reference string) harness.Request {
		return harness.Request{Method: http.MethodGet, Path: harness.ManifestPath(repository, reference), Header: harness.Header(harness.AcceptAll)}
	}
	r.PushImage("other", "v1", "layer")
	without.PushImage("other", "v1", "layer")
	got, _ := cost(t, driver, r, pull("other", "v1"))
	want, _ := cost(t, plain, without, pull("other", "v1"))
	if len(got) > len(want) {
		t.Errorf("a pull that no rule asks for costs\n%s\nand without rules\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	first, second := r.PushImage(repository, "v1", "layer"), r.PushImage(repository, "v2", "another")
	_, _ = cost(t, driver, r, pull(repository, "v1"))
	awaitRecord(t, store, first.Digest)
	driver.Reset()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, reference := range []string{"v1", first.Digest.String()} {
			request := pull(repository, reference)
			request.Method = method
			if response, err := r.Do(t.Context(), request); err != nil || response.Status != http.StatusOK {
				t.Fatalf("%v: %v", err, response)
			}
		}
	}
	r.GetManifest(repository, second.Digest.String()).Expect(http.StatusOK)
	awaitRecord(t, store, second.Digest)
	for _, o := range driver.Operations() {
		if strings.Contains(o.Path, "/_refs/records/") && !strings.HasPrefix(o.Path, pulls.Of(repository, second.Digest)) {
			t.Errorf("a pull that has been recorded costs %s", o)
		}
	}
}

// A client that asks whether a tag has changed uses what it names.
func TestPullsOfWhatTheClientHas(t *testing.T) {
	t.Parallel()
	store := faultdriver.NewObjects("objects")
	r := inprocess.Start(t, store, inprocess.Options{Retention: pulledRules})
	image := r.PushImage(repository, "v1", "layer")
	r.Get(harness.ManifestPath(repository, "v1"), harness.AcceptAll, "If-None-Match: "+image.Digest.String()).Expect(http.StatusNotModified)
	awaitRecord(t, store, image.Digest)
}

// Closing a registry writes what waits to be recorded.
func TestPullsAreRecordedAtTheEnd(t *testing.T) {
	t.Parallel()
	store := faultdriver.NewObjects("objects")
	r := inprocess.Start(t, store, inprocess.Options{Retention: pulledRules})
	image := r.PushImage(repository, "v1", "layer")
	r.GetManifest(repository, "v1").Expect(http.StatusOK)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if at, err := pulls.Open(store).Last(t.Context(), repository, image.Digest); err != nil || at.IsZero() {
		t.Errorf("recorded as pulled at %s, %v", at, err)
	}
}

// older is a storage whose files are older than they are.
type older struct {
	storagedriver.StorageDriver
	ago time.Duration
}

func (o older) Stat(ctx context.Context, file string) (storagedriver.FileInfo, error) {
	info, err := o.StorageDriver.Stat(ctx, file)
	if err != nil || strings.HasPrefix(file, layout.Collection) {
		return info, err
	}
	return storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{
		Path: info.Path(), Size: info.Size(), IsDir: info.IsDir(), ModTime: info.ModTime().Add(-o.ago),
	}}, nil
}

// What is about to go, because it was not pulled for long, stays if it is pulled at any moment
// of a run until that takes it away, and keeps its tags.
func TestPullsDuringARun(t *testing.T) {
	t.Parallel()
	section, err := extensions.NewSection("extensions.retention", map[string]any{
		"rules": []any{map[string]any{"repositories": []any{"team/*"}, "pulled": "30d"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := retention.Read(section)
	if err != nil {
		t.Fatal(err)
	}
	for name, moment := range map[string]func(o faultdriver.Operation, looks int) bool{
		"never":                          func(faultdriver.Operation, int) bool { return false },
		"before the first look":          func(_ faultdriver.Operation, looks int) bool { return looks == 1 },
		"when it says what it will take": func(o faultdriver.Operation, _ int) bool { return path.Base(o.Path) == "candidates" },
		"before the second look":         func(_ faultdriver.Operation, looks int) bool { return looks == 2 },
		"before it decides":              func(o faultdriver.Operation, _ int) bool { return path.Base(o.Path) == "seal" },
	} {
		for _, by := range []string{"v1", "digest"} {
			t.Run(name+"/"+by, func(t *testing.T) {
				t.Parallel()
				const pace = time.Second
				store := faultdriver.NewObjects("objects")
				before := inprocess.Start(t, store, inprocess.Options{})
				image := before.PushImage(repository, "v1", "layer")
				if err := before.Close(); err != nil { // what was used is forgotten
					t.Fatal(err)
				}
				long := time.Now().Add(-60 * 24 * time.Hour)
				kept := records.New(store, retention.Name)
				since, _ := long.MarshalText()
				for _, err := range []error{
					kept.Add(t.Context(), repository, "pulled/sha256/"+image.Digest.Encoded(), nil, long),
					kept.Add(t.Context(), "", "recording/"+rules.For(repository).ID(), since, time.Now()),
				} {
					if err != nil {
						t.Fatal(err)
					}
				}
				reference := by
				if by == "digest" {
					reference = image.Digest.String()
				}
				r := inprocess.Start(t, store, inprocess.Options{Retention: pulledRules, Pace: pace})
				inprocess.Start(t, store, inprocess.Options{Retention: pulledRules, Pace: pace})
				driver := faultdriver.New(older{store, 60 * 24 * time.Hour})
				pulled, looks := false, 0
				driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
					if o.Method == "List" && o.Path == pulls.Folder(repository) {
						looks++
					}
					if !pulled && moment(o, looks) {
						pulled = true
						r.GetManifest(repository, reference).Expect(http.StatusOK)
					}
					return faultdriver.None
				})
				result, err := collection.Collect(t.Context(), driver, collection.RunOptions{
					Options: collection.Options{Pace: collection.Pace(pace)}, Garbage: gc.Options{Retain: rules.For},
				})
				if err != nil {
					t.Fatal(err)
				}
				want := http.StatusOK
				if !pulled {
					want = http.StatusNotFound
				}
				r.GetManifest(repository, image.Digest.String()).Expect(want)
				r.GetManifest(repository, "v1").Expect(want)
				r.Head(harness.BlobPath(repository, harness.BlobDescriptor([]byte("layer")).Digest)).Expect(want)
				if (result.Tags.Removed > 0) == pulled {
					t.Errorf("%+v", result)
				}
			})
		}
	}
}
