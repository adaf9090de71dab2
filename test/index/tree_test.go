package index_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const repository = "team/app"

var subject = harness.Descriptor{MediaType: harness.MediaTypeOCIImage, Digest: digest.FromString("subject"), Size: 7}

// stores makes an empty storage of each kind.
func stores() map[string]func(testing.TB) storagedriver.StorageDriver {
	return map[string]func(testing.TB) storagedriver.StorageDriver{
		"filesystem": func(t testing.TB) storagedriver.StorageDriver {
			return onDisk(t.TempDir())
		},
		"inmemory": func(testing.TB) storagedriver.StorageDriver { return memory{inmemory.New()} },
		"objects":  func(testing.TB) storagedriver.StorageDriver { return faultdriver.NewObjects("objects") },
	}
}

// memory is distribution's driver, whose readers do not lock what they read while it is written.
type memory struct{ storagedriver.StorageDriver }

// Reader implements storagedriver.StorageDriver.
func (m memory) Reader(ctx context.Context, file string, offset int64) (io.ReadCloser, error) {
	content, err := m.GetContent(ctx, file)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content[min(offset, int64(len(content))):])), nil
}

// unsynced is distribution's filesystem driver without syncing files to disk.
type unsynced struct {
	*filesystem.Driver
	root string
}

func onDisk(root string) storagedriver.StorageDriver {
	return unsynced{filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: 100}), root}
}

// PutContent implements storagedriver.StorageDriver.
func (d unsynced) PutContent(_ context.Context, file string, content []byte) error {
	name := filepath.Join(d.root, file)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// First under a name that nothing reads, and then into place.
	temporary, err := os.CreateTemp(d.root, "put")
	if err != nil {
		return err
	}
	if _, err := temporary.Write(content); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), name)
}

// tree is a storage that a test fills by hand.
type tree struct {
	testing.TB
	storagedriver.StorageDriver
}

func (t tree) put(path, content string) {
	t.Helper()
	if err := t.PutContent(context.Background(), path, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

// store stores a manifest as a stock registry does.
func (t tree) store(name string, m harness.Manifest) digest.Digest {
	t.Helper()
	d := m.Digest()
	t.put(layout.BlobData(d), string(m.Bytes()))
	t.put(layout.RevisionLink(name, d), d.String())
	return d
}

// attach stores a manifest and links it to its subject.
func (t tree) attach(name string, m harness.Manifest) digest.Digest {
	t.Helper()
	d := t.store(name, m)
	t.put(layout.ReferrerLink(name, m.Subject.Digest, d), d.String())
	return d
}

// artifact is the i-th of many referrers of the subject.
func artifact(i int) harness.Manifest {
	m := harness.ORASArtifact("sbom/example").To(subject)
	if i%2 == 1 {
		m = harness.OCIImage(harness.Descriptor{MediaType: "application/vnd.example", Digest: digest.FromString("config"), Size: 6}).To(subject)
	}
	return m.Annotated("number", fmt.Sprint(i)).Annotated("org.opencontainers.image.created", "2026-01-02T03:04:05Z")
}

// other is the i-th of many manifests that have no subject.
func other(i int) harness.Manifest {
	m := artifact(1)
	m.Subject = nil
	return m.Annotated("other", fmt.Sprint(i))
}

// fill stores n referrers of the subject and as many others, through an index that is
// told about them as by a registry, and returns the referrers.
func (t tree) fill(n, others int) []digest.Digest {
	t.Helper()
	x := newIndex(t.StorageDriver, referrers.Options{})
	var list []digest.Digest
	for i := range n {
		d := t.attach(repository, artifact(i))
		x.Pushed(repository, d, artifact(i).ContentType, subject.Digest)
		list = append(list, d)
	}
	for i := range others {
		x.Pushed(repository, t.store(repository, other(i)), other(i).ContentType, "")
	}
	// Once the index knows that there is nothing else, it writes that with what was pushed.
	if _, err := x.Referrers(context.Background(), repository, digest.FromString("nobody")); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// open makes an index that is closed with the test.
func open(t testing.TB, driver storagedriver.StorageDriver, options referrers.Options) *referrers.Index {
	t.Helper()
	x := newIndex(driver, options)
	t.Cleanup(func() { _ = x.Close(context.Background()) })
	return x
}

// list returns the digests that an index lists for the subject, sorted.
func list(t testing.TB, x *referrers.Index) []digest.Digest {
	t.Helper()
	return listOf(t, x, repository, subject.Digest)
}

func listOf(t testing.TB, x *referrers.Index, name string, of digest.Digest) []digest.Digest {
	t.Helper()
	set, err := x.Referrers(context.Background(), name, of)
	if err != nil {
		t.Fatal(err)
	}
	return digests(set)
}

func digests(set *referrers.Set) []digest.Digest {
	found := []digest.Digest{}
	for _, r := range set.Referrers {
		found = append(found, r.Digest)
	}
	slices.Sort(found)
	return found
}

// expect expects an index to list exactly these.
func expect(t testing.TB, x *referrers.Index, want []digest.Digest) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	if got := list(t, x); !slices.Equal(got, want) {
		t.Errorf("listed are %d: %s\nexpected %d: %s", len(got), got, len(want), want)
	}
}

// newIndex is an index of a registry with the extensions of main.
func newIndex(driver storagedriver.StorageDriver, options referrers.Options) *referrers.Index {
	options.Types = harness.ManifestTypes()
	return referrers.New(driver, options)
}
