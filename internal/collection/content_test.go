//go:build !race

package collection_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/referrers"
)

// object is a blob or a manifest.
type object struct {
	content   []byte
	digest    digest.Digest
	mediaType string
	blobs     []*object // that a manifest needs
	manifests []*object
	subject   *object
}

func blob(text string, algorithm digest.Algorithm) *object {
	return &object{content: []byte(text), digest: algorithm.FromString(text), mediaType: v1.MediaTypeImageLayerGzip}
}

func (o *object) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: o.mediaType, Digest: o.digest, Size: int64(len(o.content))}
}

// image makes a manifest. The first blob is its configuration.
func image(name string, subject *object, blobs ...*object) *object {
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: blobs[0].descriptor(), Annotations: map[string]string{"name": name},
	}
	m.Config.MediaType = v1.MediaTypeImageConfig
	for _, b := range blobs[1:] {
		m.Layers = append(m.Layers, b.descriptor())
	}
	if subject != nil {
		d := subject.descriptor()
		m.Subject = &d
	}
	return encoded(m, &object{mediaType: m.MediaType, blobs: blobs, subject: subject})
}

func index(name string, manifests ...*object) *object {
	m := v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex,
		Annotations: map[string]string{"name": name},
	}
	for _, child := range manifests {
		m.Manifests = append(m.Manifests, child.descriptor())
	}
	return encoded(m, &object{mediaType: m.MediaType, manifests: manifests})
}

func encoded(m any, o *object) *object {
	o.content, _ = json.Marshal(m) // of plain structs
	o.digest = digest.FromBytes(o.content)
	return o
}

// The content of the storage tree at the beginning, and what clients push.
var (
	live    = blob("live", digest.SHA256)
	layers  = []*object{blob("layer 0", digest.SHA256), blob("layer 1", digest.SHA256), blob("layer 2", digest.SHA256), blob("layer 3", digest.SHA512)}
	foreign = blob("of the other repository", digest.SHA256)
	dead    = blob("dead", digest.SHA256)

	liveImage = image("live", nil, live, live)
	oldImages = []*object{image("old 0", nil, live, layers[0]), image("old 1", nil, layers[1], layers[2])}
	oldIndex  = index("old", oldImages...)
	signature = image("signature", oldImages[0], layers[0], layers[2])
	deadImage = image("dead", nil, dead)
)

const (
	app   = "app"
	other = "other"
)

// tree is the storage at the beginning, without old manifests if they would be kept
// without tags.
var tree = sync.OnceValues(func() (trees [2]map[string][]byte, err error) {
	for i := range trees {
		if trees[i], err = makeTree(i == 1); err != nil {
			return trees, err
		}
	}
	return trees, nil
})

func makeTree(old bool) (map[string][]byte, error) {
	ctx := context.Background()
	driver := inmemory.New()
	inner, err := storage.NewRegistry(ctx, driver)
	if err != nil {
		return nil, err
	}
	x := referrers.New(driver, referrers.Options{})
	n := namespace.New(inner, driver, x, namespace.Options{Types: manifest.NewTypes()})
	type push struct {
		repository string
		o          *object
		tag        string
	}
	list := []push{
		{app, live, ""},
		{app, dead, ""},
		{app, layers[0], ""},
		{app, layers[1], ""},
		{app, layers[2], ""},
		{app, layers[3], ""},
		{app, liveImage, "live"},
		{other, foreign, ""},
		{other, layers[2], ""},
		{other, live, ""},
		{other, liveImage, "live"},
	}
	if old {
		for _, m := range append(slices.Clone(oldImages), oldIndex, signature, deadImage) {
			list = append(list, push{app, m, ""})
		}
	}
	for _, p := range list {
		if err := store(ctx, n, p.repository, p.o, p.tag); err != nil {
			return nil, fmt.Errorf("%s: %w", p.o.content, err)
		}
	}
	if err := x.Close(ctx); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	err = driver.Walk(ctx, "/", func(info storagedriver.FileInfo) (err error) {
		if !info.IsDir() {
			files[info.Path()], err = driver.GetContent(ctx, info.Path())
		}
		return err
	})
	return files, err
}

// store pushes an object.
func store(ctx context.Context, n *namespace.Namespace, repository string, o *object, tag string) error {
	r, err := repositoryOf(ctx, n, repository)
	if err != nil {
		return err
	}
	if o.mediaType == v1.MediaTypeImageLayerGzip {
		return upload(ctx, r, o)
	}
	return put(ctx, r, o, tag)
}

func repositoryOf(ctx context.Context, n *namespace.Namespace, name string) (distribution.Repository, error) {
	named, err := reference.WithName(name)
	if err != nil {
		return nil, err
	}
	return n.Repository(ctx, named)
}

func upload(ctx context.Context, r distribution.Repository, o *object) error {
	w, err := r.Blobs(ctx).Create(ctx)
	if err != nil {
		return err
	}
	return finish(ctx, w, o)
}

func finish(ctx context.Context, w distribution.BlobWriter, o *object) error {
	defer func() { _ = w.Close() }() // it fails after a commit
	if _, err := w.Write(o.content); err != nil {
		return err
	}
	_, err := w.Commit(ctx, o.descriptor())
	return err
}

// put pushes a manifest, as distribution's handler does.
func put(ctx context.Context, r distribution.Repository, o *object, tag string) error {
	m, _, err := distribution.UnmarshalManifest(o.mediaType, o.content)
	if err != nil {
		return err
	}
	manifests, err := r.Manifests(ctx)
	if err != nil {
		return err
	}
	d, err := manifests.Put(ctx, m)
	if err != nil || tag == "" {
		return err
	}
	return r.Tags(ctx).Tag(ctx, tag, v1.Descriptor{Digest: d})
}

// newStorage is a copy of a tree.
func newStorage(t *testing.T, files map[string][]byte) storagedriver.StorageDriver {
	t.Helper()
	driver := inmemory.New()
	for file, content := range files {
		if err := driver.PutContent(t.Context(), file, content); err != nil {
			t.Fatal(err)
		}
	}
	return driver
}
