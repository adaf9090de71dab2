//go:build e2e

package backends_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/mirror"
	"github.com/oras-distribution/registry/test/replicas"
)

// mirrors is two replicas that mirror one origin.
type mirrors struct {
	origin     *mirror.Origin
	one, other *harness.Registry
	storage    storagedriver.StorageDriver // as the replicas see it
}

func startMirrors(t *testing.T) *mirrors {
	t.Helper()
	origin := mirror.NewOrigin(t)
	list := replicas.Start(t, 2, harness.Options{Config: origin.Config("ttl: 1h")})
	file, err := os.Open(list[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	config, err := configuration.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	storage, err := factory.Create(t.Context(), config.Storage.Type(), config.Storage.Parameters())
	if err != nil {
		t.Fatal(err)
	}
	return &mirrors{origin, list[0], list[1], storage}
}

// mirrored has two replicas mirror one origin. What one has got, the other serves; what one gets
// when it is killed, the other gets; and both serve it when the origin has stopped.
func mirrored(t *testing.T) {
	m := startMirrors(t)
	contents := m.cold(t)
	contents = append(contents, m.warm(t), m.killedGetting(t))
	m.killedStoring(t)
	m.stopped(t, contents)
	mirror.WholeBlobs(t, m.storage)
}

// cold has clients of both replicas pull the same at the same time.
func (m *mirrors) cold(t *testing.T) (contents []*mirror.Content) {
	t.Helper()
	var group errgroup.Group
	for i := range 3 {
		content := mirror.Push(m.origin.Client, fmt.Sprintf("cold%d", i))
		contents = append(contents, content)
		for range 3 {
			for _, c := range []*harness.Client{m.one.Client(), m.other.Client()} {
				group.Go(func() error { return content.TryPull(t.Context(), c, "origin/"+content.Repository) })
			}
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, content := range contents {
		content.Pull(t, m.one.Client(), "origin/"+content.Repository)
		content.Pull(t, m.other.Client(), "origin/"+content.Repository)
	}
	return contents
}

// warm has a replica serve what the other one has stored, without asking the origin.
func (m *mirrors) warm(t *testing.T) *mirror.Content {
	t.Helper()
	content := mirror.Push(m.origin.Client, "warm")
	content.Pull(t, m.one.Client(), "origin/warm")
	m.one.Restart() // which waits for what is being stored
	m.origin.Forget()
	content.Pull(t, m.other.Client(), "origin/warm")
	content.Pull(t, m.one.Client(), "origin/warm")
	m.origin.Expect(t, 0, "")
	return content
}

// killedGetting kills a replica when half of a blob has arrived at both.
func (m *mirrors) killedGetting(t *testing.T) *mirror.Content {
	t.Helper()
	content := mirror.Push(m.origin.Client, "getting")
	gate := make(chan struct{})
	m.origin.Fail(mirror.Gated(gate))
	var begun sync.WaitGroup
	begun.Add(2)
	pull := func(r *harness.Registry) <-chan error {
		ended := make(chan error, 1)
		url := r.URL + harness.BlobPath("origin/getting", content.Layer.Digest)
		go func() { ended <- mirror.Puller{First: begun.Done}.Pull(t.Context(), url, content.LayerBytes) }()
		return ended
	}
	killed, completed := pull(m.one), pull(m.other)
	both := make(chan struct{})
	go func() {
		begun.Wait()
		close(both)
	}()
	select {
	case <-both:
	case err := <-killed:
		t.Fatalf("a blob has ended before all of it has come: %v", err)
	case err := <-completed:
		t.Fatalf("a blob has ended before all of it has come: %v", err)
	}
	m.one.Kill()
	close(gate)
	if err := <-killed; err == nil {
		t.Error("a replica that is killed has sent all of a blob")
	}
	if err := <-completed; err != nil {
		t.Errorf("the other replica does not complete its download: %v", err)
	}
	m.origin.Fail(nil)
	content.Pull(t, m.other.Client(), "origin/getting")
	mirror.WholeBlobs(t, m.storage)
	m.one.Restart()
	content.Pull(t, m.one.Client(), "origin/getting")
	return content
}

// killedStoring kills a replica that has sent all of a blob, and uploads it to the storage.
func (m *mirrors) killedStoring(t *testing.T) {
	t.Helper()
	const name = "storing"
	content := make([]byte, 24<<20) // more than one part of an upload
	_, _ = rand.Read(content)
	blob := m.origin.Client.PushBlob(name, content)
	m.one.Client().Get(harness.BlobPath("origin/"+name, blob.Digest)).Expect(http.StatusOK)
	m.awaitUpload(t, "origin/"+name, blob)
	m.one.Kill()
	mirror.WholeBlobs(t, m.storage)
	resp := m.other.Client().Get(harness.BlobPath("origin/"+name, blob.Digest)).Expect(http.StatusOK)
	if !bytes.Equal(resp.Body, content) {
		t.Errorf("the other replica serves other bytes")
	}
	m.one.Restart()
}

// awaitUpload waits until a replica uploads a blob, or has done so.
func (m *mirrors) awaitUpload(t *testing.T, repository string, blob harness.Descriptor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		uploads, err := m.storage.List(ctx, path.Dir(layout.Upload(repository, "x")))
		if err == nil && len(uploads) == 0 || layout.IsNotFound(err) {
			_, err = m.storage.Stat(ctx, layout.BlobData(blob.Digest))
		}
		switch {
		case err == nil:
			return
		case !layout.IsNotFound(err):
			t.Fatal(err)
		}
	}
}

// stopped stops the origin. Both replicas serve what is stored: while the answers of the origin
// count, and later, when it would be asked again. All else is an error.
func (m *mirrors) stopped(t *testing.T, contents []*mirror.Content) {
	t.Helper()
	m.other.Restart() // which waits for what is being stored
	m.origin.Server.CloseClientConnections()
	m.origin.Server.Close()
	for _, ttl := range []string{"1h", "0s"} {
		for _, r := range []*harness.Registry{m.one, m.other} {
			if ttl == "0s" {
				r.RestartConfigured(m.origin.Config("ttl: 0s"))
			}
			c := r.Client()
			for _, content := range contents {
				content.Pull(t, c, "origin/"+content.Repository)
			}
			for _, path := range []string{harness.ManifestPath("origin/never", "v1"), harness.OCI.Path("origin/never", contents[0].Image.Digest)} {
				c.Get(path, harness.AcceptAll).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
			}
		}
	}
}
