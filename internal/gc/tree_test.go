package gc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// drivers are the drivers that the tests run on: one with folders on disk, one in
// memory.
func drivers(tb testing.TB) map[string]func() storagedriver.StorageDriver {
	tb.Helper()
	return map[string]func() storagedriver.StorageDriver{
		"inmemory": func() storagedriver.StorageDriver { return inmemory.New() },
		"filesystem": func() storagedriver.StorageDriver {
			return newDisk(tb.TempDir())
		},
	}
}

// disk is the filesystem driver with a faster way to write a tree: it does not sync
// each file.
type disk struct {
	*filesystem.Driver
	root string
}

func newDisk(root string) disk {
	return disk{filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: 100}), root}
}

func (d disk) PutContent(_ context.Context, file string, content []byte) error {
	file = filepath.Join(d.root, file)
	return cmp.Or(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, content, 0o666))
}

// tree writes a storage tree as a registry would.
type tree struct {
	testing.TB
	driver storagedriver.StorageDriver
	names  map[string]string // "repo@digest" of manifests: their name in the test
}

func newTree(tb testing.TB, driver storagedriver.StorageDriver) *tree {
	tb.Helper()
	return &tree{TB: tb, driver: driver, names: map[string]string{}}
}

func (t *tree) write(file, content string) {
	t.Helper()
	if err := t.driver.PutContent(context.Background(), file, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func (t *tree) remove(path string) {
	t.Helper()
	if err := t.driver.Delete(context.Background(), path); err != nil {
		t.Fatal(err)
	}
}

// blob puts a blob into a repository.
func (t *tree) blob(repo, content string) v1.Descriptor {
	t.Helper()
	d := digest.FromString(content)
	t.write(layout.BlobData(d), content)
	t.write(layout.LayerLink(repo, d), d.String())
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(content))}
}

// aliased puts a blob into a repository as distribution does when the client
// names its SHA-512 digest: the bytes are stored under the canonical digest, and the
// link of the SHA-512 digest contains that. It returns the descriptor of the client.
func (t *tree) aliased(repo, content string) v1.Descriptor {
	t.Helper()
	stored := t.blob(repo, content)
	alias := digest.SHA512.FromString(content)
	t.write(layout.LayerLink(repo, alias), stored.Digest.String())
	return v1.Descriptor{MediaType: stored.MediaType, Digest: alias, Size: stored.Size}
}

// renamed puts a manifest into a repository under its SHA-512 digest as well.
func (t *tree) renamed(repo, name string, d v1.Descriptor) v1.Descriptor {
	t.Helper()
	content, err := t.driver.GetContent(context.Background(), layout.BlobData(d.Digest))
	if err != nil {
		t.Fatal(err)
	}
	alias := d
	alias.Digest = digest.SHA512.FromBytes(content)
	t.write(layout.RevisionLink(repo, alias.Digest), d.Digest.String())
	t.names[repo+"@"+alias.Digest.String()] = name
	return alias
}

// manifest puts a manifest with that name into a repository.
func (t *tree) manifest(repo, name string, content any) v1.Descriptor {
	t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromBytes(text)
	t.write(layout.BlobData(d), string(text))
	t.write(layout.RevisionLink(repo, d), d.String())
	t.names[repo+"@"+d.String()] = name
	var kind struct {
		MediaType string `json:"mediaType"`
	}
	_ = json.Unmarshal(text, &kind)
	return v1.Descriptor{MediaType: kind.MediaType, Digest: d, Size: int64(len(text))}
}

func imageOf(name string, config v1.Descriptor, subject *v1.Descriptor, layers ...v1.Descriptor) v1.Manifest {
	m := v1.Manifest{
		MediaType: v1.MediaTypeImageManifest, Config: config, Layers: layers, Subject: subject,
		Annotations: map[string]string{"name": name},
	}
	m.SchemaVersion = 2
	return m
}

// image puts an image with a config and layers of its own into a repository.
func (t *tree) image(repo, name string, layers ...string) v1.Descriptor {
	t.Helper()
	var blobs []v1.Descriptor
	for _, layer := range layers {
		blobs = append(blobs, t.blob(repo, layer))
	}
	return t.imageWith(repo, name, blobs...)
}

// imageWith is image with existing layers.
func (t *tree) imageWith(repo, name string, layers ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	layers = append([]v1.Descriptor{t.blob(repo, "layer of "+name)}, layers...)
	return t.manifest(repo, name, imageOf(name, t.blob(repo, `{"config of":"`+name+`"}`), nil, layers...))
}

// signature puts an image manifest with a subject into a repository and links it.
func (t *tree) signature(repo, name string, subject v1.Descriptor) v1.Descriptor {
	t.Helper()
	d := t.unlinked(repo, name, subject)
	t.link(repo, subject, d)
	return d
}

// unlinked is signature without the link, as a stock binary leaves it.
func (t *tree) unlinked(repo, name string, subject v1.Descriptor) v1.Descriptor {
	t.Helper()
	return t.manifest(repo, name, imageOf(name, t.blob(repo, "{}"), &subject, t.blob(repo, "signature "+name)))
}

// artifact puts an ORAS artifact manifest into a repository and links it. It has the
// given blobs and one of its own.
func (t *tree) artifact(repo, name string, subject *v1.Descriptor, blobs ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	content := map[string]any{
		"mediaType": orasArtifact.MediaType, "artifactType": "test/" + name,
		"blobs": append([]v1.Descriptor{t.blob(repo, "blob of "+name)}, blobs...),
	}
	if subject != nil {
		content["subject"] = subject
	}
	d := t.manifest(repo, name, content)
	if subject != nil {
		t.link(repo, *subject, d)
	}
	return d
}

// converted puts an image manifest into a repository that was converted from another
// manifest.
func (t *tree) converted(repo, name string, from v1.Descriptor) v1.Descriptor {
	t.Helper()
	image := imageOf(name, t.blob(repo, "{}"), nil)
	image.Annotations[manifest.AnnotationConvertedFrom] = from.Digest.String()
	return t.manifest(repo, name, image)
}

// index puts an index, or a Docker list, into a repository.
func (t *tree) index(repo, name, mediaType string, children ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	content := v1.Index{MediaType: mediaType, Manifests: children, Annotations: map[string]string{"name": name}}
	content.SchemaVersion = 2
	return t.manifest(repo, name, content)
}

func (t *tree) link(repo string, subject, referrer v1.Descriptor) {
	t.Helper()
	t.write(layout.ReferrerLink(repo, subject.Digest, referrer.Digest), referrer.Digest.String())
	t.write(layout.DerivedSubject(repo, subject.Digest), "derived")
	t.write(layout.DerivedManifests(repo), "derived")
}

func (t *tree) tag(repo, tag string, d v1.Descriptor) {
	t.Helper()
	t.write(layout.TagIndexEntry(repo, tag, d.Digest)+"/"+layout.LinkName, d.Digest.String())
	t.write(layout.TagCurrent(repo, tag), d.Digest.String())
}

// untag removes a tag, as the API does.
func (t *tree) untag(repo, tag string) { t.Helper(); t.remove(layout.Tag(repo, tag)) }

// delete removes a manifest as the API does: the link only.
func (t *tree) delete(repo string, d v1.Descriptor) {
	t.Helper()
	t.remove(layout.RevisionLink(repo, d.Digest))
}

// files are all files below a folder, with their content.
func files(tb testing.TB, driver storagedriver.StorageDriver) map[string]string {
	tb.Helper()
	ctx, all := context.Background(), map[string]string{}
	err := driver.Walk(ctx, "/", func(info storagedriver.FileInfo) error {
		if info.IsDir() {
			return nil
		}
		content, err := driver.GetContent(ctx, info.Path())
		all[info.Path()] = string(content)
		return err
	})
	if err != nil && !errors.As(err, new(storagedriver.PathNotFoundError)) {
		tb.Fatal(err)
	}
	return all
}

// copyTo writes files into a new tree, in order.
func copyTo(tb testing.TB, all map[string]string, driver storagedriver.StorageDriver) storagedriver.StorageDriver {
	tb.Helper()
	for _, file := range keys(all) {
		if err := driver.PutContent(context.Background(), file, []byte(all[file])); err != nil {
			tb.Fatal(err)
		}
	}
	return driver
}

// revisions are the manifests in a tree, as "repo@digest".
func revisions(all map[string]string) []string {
	var list []string
	for file := range all {
		rest, inside := strings.CutPrefix(file, layout.Repositories+"/")
		name, _, ok := strings.Cut(rest, "/_manifests/revisions/")
		if !inside || !ok {
			continue
		}
		if d, ok := layout.ParseRevision(name, file); ok {
			list = append(list, name+"@"+d.String())
		}
	}
	slices.Sort(list)
	return list
}

func keys(all map[string]string) []string {
	list := make([]string, 0, len(all))
	for file := range all {
		list = append(list, file)
	}
	slices.Sort(list)
	return list
}

func collect(tb testing.TB, driver storagedriver.StorageDriver, options Options) Report {
	tb.Helper()
	report, err := tryCollect(context.Background(), driver, options)
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

// orasArtifact is the type of the artifacts in these trees.
var orasArtifact = manifest.Type{
	MediaType: "application/vnd.cncf.oras.artifact.manifest.v1+json", References: []string{"blobs[]"}, MediaTypeOptional: true,
}

var types = manifest.NewTypes(orasArtifact)

// tryCollect is Collect for a registry that knows ORAS artifacts.
func tryCollect(ctx context.Context, driver storagedriver.StorageDriver, options Options) (Report, error) {
	options.Reach, options.Describe = types.Reach, types.Dated
	return Collect(ctx, driver, options)
}
