package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// Content is an image with the tag v1, and what is attached to it.
type Content struct {
	Repository  string // at the origin
	Image       harness.Descriptor
	ImageBytes  []byte
	Layer       harness.Descriptor
	LayerBytes  []byte
	Attached    []harness.Manifest
	AttachedRaw [][]byte // a blob of each
}

// Push pushes content that no other repository has.
func Push(c *harness.Client, repository string) *Content {
	content := PushPlain(c, repository)
	raw := []byte("a scan of " + repository)
	content.attach(c, raw, harness.ORASArtifact("example/scan", c.PushBlob(repository, raw)).To(content.Image))
	return content
}

// PushPlain is Push for a registry without ORAS artifacts.
func PushPlain(c *harness.Client, repository string) *Content {
	content := &Content{Repository: repository, LayerBytes: []byte(strings.Repeat("layer of "+repository+"\n", 2000))}
	config := c.PushBlob(repository, []byte(`{"architecture":"amd64","os":"linux","is":"`+repository+`"}`))
	config.MediaType = harness.MediaTypeOCIConfig
	content.Layer = c.PushBlob(repository, content.LayerBytes)
	content.Layer.MediaType = harness.MediaTypeOCILayer
	image := harness.OCIImage(config, content.Layer)
	content.ImageBytes, content.Image = image.Bytes(), c.MustPush(repository, "v1", image)
	content.Attach(c, "a signature")
	content.Attach(c, "an SBOM")
	return content
}

// Attach attaches one more to the image.
func (c *Content) Attach(client *harness.Client, text string) harness.Manifest {
	raw := []byte(text + " of " + c.Repository)
	blob := client.PushBlob(c.Repository, raw)
	m := harness.OCIImage(blob, blob).Typed("example/attached").To(c.Image)
	c.attach(client, raw, m)
	return m
}

func (c *Content) attach(client *harness.Client, raw []byte, m harness.Manifest) {
	client.MustPush(c.Repository, "", m)
	c.Attached, c.AttachedRaw = append(c.Attached, m), append(c.AttachedRaw, raw)
}

// TagList lists what is attached by a tag, as clients do at registries without an API for that.
func (c *Content) TagList(client *harness.Client) {
	var list []harness.Descriptor
	for _, m := range c.Attached {
		list = append(list, m.Listed())
	}
	client.MustPush(c.Repository, strings.Replace(c.Image.Digest.String(), ":", "-", 1), harness.OCIIndex(list...))
}

// Pull pulls everything through a mirror, by the name of the repository there, and expects it
// to be whole.
func (c *Content) Pull(t testing.TB, client *harness.Client, repository string) {
	t.Helper()
	client.GetManifest(repository, "v1").Expect(http.StatusOK).ExpectBody(c.ImageBytes)
	client.GetManifest(repository, c.Image.Digest.String()).Expect(http.StatusOK).ExpectBody(c.ImageBytes)
	client.Get(harness.BlobPath(repository, c.Layer.Digest)).Expect(http.StatusOK).ExpectBody(c.LayerBytes)
	c.List(t, client, repository)
	for i, m := range c.Attached {
		client.GetManifest(repository, m.Digest().String()).Expect(http.StatusOK).ExpectBody(m.Bytes())
		client.Get(harness.BlobPath(repository, digest.FromBytes(c.AttachedRaw[i]))).Expect(http.StatusOK).ExpectBody(c.AttachedRaw[i])
	}
}

// List expects every route to list all that is attached.
func (c *Content) List(t testing.TB, client *harness.Client, repository string) {
	t.Helper()
	for _, route := range harness.Routes() {
		c.Whole(t, route, harness.Digests(client.Referrers(route, repository, c.Image.Digest)))
	}
}

// Whole expects a list to have all that is attached and that its route lists, and nothing else.
func (c *Content) Whole(t testing.TB, route harness.Route, list []digest.Digest) {
	t.Helper()
	if err := c.isWhole(route, list); err != nil {
		t.Error(err)
	}
}

func (c *Content) isWhole(route harness.Route, list []digest.Digest) (err error) {
	there := map[digest.Digest]bool{}
	for _, d := range list {
		there[d] = true
	}
	count := 0
	for _, m := range c.Attached {
		if route.Name != harness.OCI.Name && m.MediaType != harness.MediaTypeORASArtifact {
			continue // the ORAS routes list ORAS artifacts
		}
		if count++; !there[m.Digest()] {
			err = errors.Join(err, fmt.Errorf("%s does not list %s", route.Name, m.Digest()))
		}
	}
	if len(list) != count {
		err = errors.Join(err, fmt.Errorf("%s lists %d, and not %d", route.Name, len(list), count))
	}
	return err
}

// Walk calls what for every file of a storage tree, with its path below the root.
func Walk(t testing.TB, root string, what func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // a registry is at work
		}
		if err == nil && !entry.IsDir() {
			what(strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Intact expects the storage of a mirror that has stopped working to have nothing half: what is
// stored under a digest has that digest, and no upload is left.
func Intact(t testing.TB, root string) {
	t.Helper()
	Walk(t, root, func(path string) {
		if strings.Contains(path, "/_uploads/") {
			t.Errorf("an upload is left: %s", path)
		}
	})
	halfStored(t, root)
}

// halfStored expects what is stored under a digest to have that digest.
func halfStored(t testing.TB, root string) {
	t.Helper()
	Walk(t, root, func(path string) {
		if !strings.HasPrefix(path, layout.Blobs) || filepath.Base(path) != "data" {
			return
		}
		content, err := os.ReadFile(root + path)
		if os.IsNotExist(err) {
			return // collected
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if hex := filepath.Base(filepath.Dir(path)); strings.Contains(path, "/sha256/") && hex != hexOf(sum[:]) {
			t.Errorf("%d bytes are stored as %s, and do not have that digest", len(content), hex)
		}
	})
}

// WholeBlobs expects all blobs of a tree to have their digests.
func WholeBlobs(t testing.TB, tree storagedriver.StorageDriver) {
	t.Helper()
	err := tree.Walk(context.Background(), layout.Blobs, func(file storagedriver.FileInfo) error {
		if file.IsDir() || path.Base(file.Path()) != "data" {
			return nil
		}
		content, err := tree.GetContent(context.Background(), file.Path())
		if hex := path.Base(path.Dir(file.Path())); err == nil && digest.FromBytes(content).Encoded() != hex {
			t.Errorf("%d bytes are stored as %s", len(content), hex)
		}
		return err
	})
	if err != nil && !layout.IsNotFound(err) {
		t.Error(err)
	}
}

func hexOf(sum []byte) string { return hex.EncodeToString(sum) }

// recordName is the name of a record: its time, and what tells it from others.
var recordName = regexp.MustCompile(`^([0-9]{20})(-[A-Z2-7]{26})$`)

// Age makes all that a mirror knows about a repository older than it is.
func Age(t testing.TB, root, repository string, by time.Duration) {
	t.Helper()
	aged := 0
	Walk(t, root+layout.Records(repository, "mirror"), func(path string) {
		file := root + layout.Records(repository, "mirror") + path
		parts := recordName.FindStringSubmatch(filepath.Base(file))
		if parts == nil {
			return
		}
		var nanos int64
		for _, c := range parts[1] {
			nanos = 10*nanos + int64(c-'0')
		}
		name := harness.Configf("%020d%s", nanos-by.Nanoseconds(), parts[2])
		if err := os.Rename(file, filepath.Join(filepath.Dir(file), name)); err != nil {
			t.Fatal(err)
		}
		aged++
	})
	if aged == 0 {
		t.Fatalf("the mirror has recorded nothing about %s", repository)
	}
}
