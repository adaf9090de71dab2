package gc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions/layout"
	"github.com/oras-distribution/registry/extensions/manifest"
)

// drivers are those that the tests run on: one that knows folders on disk, one in
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

// disk is the filesystem driver with a quicker way to write a tree: it does not
// wait for the disk after each file.
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
	blobs := []v1.Descriptor{t.blob(repo, "layer of "+name)}
	for _, layer := range layers {
		blobs = append(blobs, t.blob(repo, layer))
	}
	return t.manifest(repo, name, imageOf(name, t.blob(repo, `{"config of":"`+name+`"}`), nil, blobs...))
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

// artifact puts an ORAS artifact manifest into a repository and links it.
func (t *tree) artifact(repo, name string, subject *v1.Descriptor) v1.Descriptor {
	t.Helper()
	content := map[string]any{
		"mediaType": manifest.MediaTypeORASArtifact, "artifactType": "test/" + name,
		"blobs": []v1.Descriptor{t.blob(repo, "blob of "+name)},
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

// copyTo writes files into a new tree.
func copyTo(tb testing.TB, all map[string]string, driver storagedriver.StorageDriver) storagedriver.StorageDriver {
	tb.Helper()
	for file, content := range all {
		if err := driver.PutContent(context.Background(), file, []byte(content)); err != nil {
			tb.Fatal(err)
		}
	}
	return driver
}

// revisions are the manifests that a tree has, as "repo@digest".
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

// survivors are the names of the manifests that a tree has, in order. Each can be
// pulled, and apart from what they need nothing is left.
func (t *tree) survivors() string {
	t.Helper()
	all := files(t, t.driver)
	var names []string
	needed := map[string]bool{}
	for _, revision := range revisions(all) {
		name, ok := t.names[revision]
		if !ok {
			t.Errorf("there is an unknown manifest %s", revision)
		}
		repo, d, _ := strings.Cut(revision, "@")
		if repo == "r" {
			names = append(names, name)
		} else {
			names = append(names, repo+"/"+name)
		}
		if err := pull(all, repo, digest.Digest(d), needed); err != nil {
			t.Errorf("%s cannot be pulled: %v", name, err)
		}
	}
	for file := range all {
		if strings.Contains(file, "/_layers/") || strings.HasPrefix(file, layout.Blobs) {
			if !needed[file] {
				t.Errorf("%s is left over", file)
			}
		}
	}
	t.checkIndex(all)
	t.checkFolders()
	slices.Sort(names)
	return strings.Join(names, " ")
}

// pull follows what a manifest needs through the files of a tree, and notes them.
func pull(all map[string]string, repo string, d digest.Digest, needed map[string]bool) error {
	if all[layout.RevisionLink(repo, d)] != d.String() {
		return fmt.Errorf("manifest %s has no link in %s", d, repo)
	}
	content := all[layout.BlobData(d)]
	if digest.FromString(content) != d {
		return fmt.Errorf("manifest %s has no bytes", d)
	}
	needed[layout.BlobData(d)] = true
	var m struct {
		Config                   *v1.Descriptor
		Layers, Blobs, Manifests []v1.Descriptor
	}
	if err := json.Unmarshal([]byte(content), &m); err != nil {
		return err
	}
	for _, child := range m.Manifests {
		if all[layout.RevisionLink(repo, child.Digest)] == "" {
			needed[layout.BlobData(child.Digest)] = true // deleted through the API
			continue
		}
		if err := pull(all, repo, child.Digest, needed); err != nil {
			return fmt.Errorf("in index %s: %w", d, err)
		}
	}
	blobs := slices.Concat(m.Layers, m.Blobs)
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	for _, blob := range blobs {
		link := layout.LayerLink(repo, blob.Digest)
		if all[link] != blob.Digest.String() {
			return fmt.Errorf("%s has no link to its blob %s in %s", d, blob.Digest, repo)
		}
		if digest.FromString(all[layout.BlobData(blob.Digest)]) != blob.Digest {
			return fmt.Errorf("%s lacks the bytes of its blob %s", d, blob.Digest)
		}
		needed[link], needed[layout.BlobData(blob.Digest)] = true, true
	}
	return nil
}

// checkIndex checks that no link of the index leads nowhere, that no derived file
// is about nothing, and that no tag remembers what is gone.
func (t *tree) checkIndex(all map[string]string) {
	t.Helper()
	for file := range all {
		rest := strings.TrimPrefix(file, layout.Repositories+"/")
		repo, inside, _ := strings.Cut(rest, "/_")
		switch {
		case strings.HasPrefix(inside, "refs/subjects/"):
			subject, referrer, ok := layout.ParseReferrer(repo, file)
			if !ok || all[layout.RevisionLink(repo, referrer)] == "" {
				t.Errorf("the link from %s to %s in %s leads nowhere", referrer, subject, repo)
			}
		case strings.HasPrefix(inside, "refs/derived/subjects/"):
			subject := digest.NewDigestFromEncoded(digest.SHA256, path.Base(file))
			if !slices.ContainsFunc(keys(all), func(link string) bool {
				return strings.HasPrefix(link, layout.Subject(repo, subject)+"/")
			}) {
				t.Errorf("%s is about a subject without referrers", file)
			}
		case strings.HasPrefix(inside, "manifests/tags/") && strings.Contains(inside, "/index/"):
			d := digest.Digest(all[file])
			if all[layout.RevisionLink(repo, d)] == "" {
				t.Errorf("%s remembers a manifest that is gone", file)
			}
		}
	}
}

// checkFolders checks that the index has no empty folders.
func (t *tree) checkFolders() {
	t.Helper()
	ctx := context.Background()
	_ = t.driver.Walk(ctx, layout.Repositories, func(info storagedriver.FileInfo) error {
		if info.IsDir() && strings.Contains(info.Path(), "/_refs") {
			if below, err := t.driver.List(ctx, info.Path()); err == nil && len(below) == 0 {
				t.Errorf("the folder %s is empty", info.Path())
			}
		}
		return nil
	})
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
	report, err := Collect(context.Background(), driver, options)
	if err != nil {
		tb.Fatal(err)
	}
	return report
}
