package convert_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/convert"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/referrers"
)

const artifactType = "application/vnd.example.artifact"

var types = manifest.NewTypes(manifest.Type{MediaType: artifactType, References: []string{"blobs[]"}, Convertible: true})

// limited is a storage driver that stores nothing more after a number of writes.
type limited struct {
	storagedriver.StorageDriver
	left atomic.Int64
}

var errFull = errors.New("the storage is full")

func (l *limited) PutContent(ctx context.Context, path string, content []byte) error {
	if l.left.Add(-1) < 0 {
		return errFull
	}
	return l.StorageDriver.PutContent(ctx, path, content)
}

func newLimited(writes int64) *limited {
	l := &limited{StorageDriver: inmemory.New()}
	l.left.Store(writes)
	return l
}

const plenty = 1 << 40

// store stores a manifest in the repository `app`.
func (l *limited) store(t *testing.T, content string) digest.Digest {
	t.Helper()
	d := digest.FromString(content)
	for path, content := range map[string]string{layout.BlobData(d): content, layout.RevisionLink("app", d): d.String()} {
		if err := l.StorageDriver.PutContent(t.Context(), path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// chain stores an image and artifacts, each attached to the one before.
func (l *limited) chain(t *testing.T, length int) {
	t.Helper()
	subject := l.store(t, `{"schemaVersion":2,"mediaType":"`+v1.MediaTypeImageIndex+`","manifests":[]}`)
	for i := range length {
		subject = l.store(t, fmt.Sprintf(`{"mediaType":%q,"artifactType":"t","subject":{"mediaType":"m","digest":%q,"size":1},"annotations":{"i":"%d"}}`,
			artifactType, subject, i))
	}
}

// run converts the repository, and returns the numbers of results by their states.
func (l *limited) run(t *testing.T) (map[convert.State]int, error) {
	t.Helper()
	inner, err := storage.NewRegistry(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	index := referrers.New(l, referrers.Options{Types: types})
	defer func() { _ = index.Close(context.Background()) }()
	results := map[convert.State]int{}
	converter := convert.New(l, namespace.New(inner, l, index, namespace.Options{Types: types}), index, convert.Options{
		Types: types, Concurrency: 4, Report: func(r convert.Result) { results[r.State]++ },
	})
	name, err := reference.WithName("app")
	if err != nil {
		t.Fatal(err)
	}
	return results, converter.Repository(t.Context(), name)
}

// files are all files that are not derived, with their contents.
func (l *limited) files(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := l.Walk(t.Context(), "/", func(info storagedriver.FileInfo) error {
		if info.IsDir() || strings.Contains(info.Path(), "/derived/") {
			return nil
		}
		content, err := l.GetContent(t.Context(), info.Path())
		files[info.Path()] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A long chain of referrers is converted from its subject on.
func TestChain(t *testing.T) {
	l := newLimited(plenty)
	l.chain(t, 1000)
	if results, err := l.run(t); err != nil || results[convert.Converted] != 1000 || len(results) != 1 {
		t.Errorf("%v: %v", err, results)
	}
	if results, err := l.run(t); err != nil || results[convert.Unchanged] != 1000 || len(results) != 1 {
		t.Errorf("again: %v: %v", err, results)
	}
}

// Wherever a run ends, the next one finishes it.
func TestInterruptedAtEveryWrite(t *testing.T) {
	whole := newLimited(plenty)
	whole.chain(t, 3)
	if _, err := whole.run(t); err != nil {
		t.Fatal(err)
	}
	want := whole.files(t)
	for writes := int64(0); ; writes++ {
		l := newLimited(writes)
		l.chain(t, 3)
		results, err := l.run(t)
		complete := maps.Equal(l.files(t), want)
		if reported := results[convert.Converted] == 3 && err == nil; reported && !complete {
			t.Fatalf("after %d writes: everything is said to be converted: %v, %v", writes, results, err)
		}
		l.left.Store(plenty)
		if results, err := l.run(t); err != nil || !maps.Equal(l.files(t), want) {
			t.Fatalf("after %d writes, again: %v, %v", writes, err, results)
		}
		if complete {
			break
		}
	}
}

// Two runs at once store the same.
func TestTwoAtOnce(t *testing.T) {
	l := newLimited(plenty)
	l.chain(t, 50)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if results, err := l.run(t); err != nil || results[convert.Converted]+results[convert.Unchanged] != 50 {
				t.Errorf("%v: %v", err, results)
			}
		})
	}
	group.Wait()
	after := l.files(t)
	if results, err := l.run(t); err != nil || results[convert.Unchanged] != 50 || !maps.Equal(l.files(t), after) {
		t.Errorf("again: %v: %v", err, results)
	}
}

// A storage that fails for good ends the run; nothing is said about each manifest.
func TestFullStorage(t *testing.T) {
	l := newLimited(0)
	l.chain(t, 50)
	if results, err := l.run(t); !errors.Is(err, errFull) && !strings.Contains(fmt.Sprint(err), "storing the empty config") || len(results) > 0 {
		t.Errorf("%v: %v", err, results)
	}
}
