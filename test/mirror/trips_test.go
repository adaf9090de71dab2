package mirror

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// 100 clients that ask for a blob that is not here cause one download. Each is served what has
// arrived before all of it has, and those that leave do not end it.
func TestColdPullsShareOneDownload(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "team/app")
	gate := make(chan struct{})
	origin.Fail(Gated(gate))
	mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
	url := mirror.URL + harness.BlobPath("origin/team/app", content.Layer.Digest)

	var arrived sync.WaitGroup
	group, ctx := errgroup.WithContext(t.Context())
	for i := range 100 {
		arrived.Add(1)
		p := Puller{Ranged: i%5 == 1, Leaves: i%5 == 0, First: arrived.Done}
		group.Go(func() error { return p.Pull(ctx, url, content.LayerBytes) })
	}
	everyone := make(chan struct{})
	go func() {
		arrived.Wait()
		close(everyone)
	}()
	select {
	case <-everyone:
	case <-ctx.Done():
		t.Fatal(group.Wait())
	case <-time.After(time.Minute):
		t.Fatal("what has arrived does not reach every client")
	}
	close(gate)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	origin.Expect(t, 1, "GET /v2/team/app/blobs/")
	content.Pull(t, mirror.Client(), "origin/team/app")
	_ = mirror.Stop()
	Intact(t, mirror.Root)
}

// Clients that all leave do not end a download either.
func TestDownloadOutlivesItsClients(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	gate := make(chan struct{})
	origin.Fail(Gated(gate))
	mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
	url := mirror.URL + harness.BlobPath("origin/app", content.Layer.Digest)
	if err := (Puller{Leaves: true, First: func() {}}).Pull(t.Context(), url, nil); err != nil {
		t.Fatal(err)
	}
	close(gate)
	if err := (Puller{First: func() {}}).Pull(t.Context(), url, content.LayerBytes); err != nil {
		t.Fatal(err)
	}
	origin.Expect(t, 1, "GET /v2/app/blobs/")
}

// A download that breaks goes on where it was, and the client notices nothing.
func TestBrokenDownloadGoesOn(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	var once sync.Once
	origin.Fail(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		cut := false
		if strings.Contains(r.URL.Path, "/blobs/") {
			once.Do(func() { cut = true })
		}
		if cut {
			Cut(w, r, registry)
		}
		registry.ServeHTTP(w, r)
	})
	mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
	mirror.Client().Get(harness.BlobPath("origin/app", content.Layer.Digest)).Expect(http.StatusOK).ExpectBody(content.LayerBytes)
	content.Pull(t, mirror.Client(), "origin/app")
}

// pair starts two replicas on one storage.
func pair(t *testing.T, config string) (one, other *harness.Registry) {
	t.Helper()
	one = harness.Start(t, harness.Options{Config: config})
	return one, harness.Start(t, harness.Options{Config: config, Root: one.Root})
}

// Manifests, tags and lists that many ask for at once are asked for once; within the ttl nothing
// is asked; and later, only whether it has changed.
func TestAnswersCountForTheirTTL(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	mirror, other := pair(t, origin.Config("ttl: 1h"))
	many := func() {
		t.Helper()
		var group errgroup.Group
		for range 50 {
			for _, path := range []string{
				harness.ManifestPath("origin/app", "v1"), harness.ManifestPath("origin/app", content.Attached[0].Digest().String()),
				harness.OCI.Path("origin/app", content.Image.Digest),
			} {
				group.Go(func() error {
					resp, err := mirror.Client().Do(t.Context(), harness.Request{Method: http.MethodGet, Path: path, Header: harness.Header(harness.AcceptAll)})
					if err == nil && resp.Status != http.StatusOK {
						err = resp.Err()
					}
					return err
				})
			}
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	many()
	origin.Expect(t, 1, "HEAD /v2/app/manifests/v1")
	origin.Expect(t, 1, "GET /v2/app/manifests/"+content.Image.Digest.String())
	origin.Expect(t, 1, "GET /v2/app/referrers/")
	content.Pull(t, mirror.Client(), "origin/app")

	origin.Forget()
	many()
	content.Pull(t, mirror.Client(), "origin/app")
	origin.Expect(t, 0, "")
	content.Pull(t, other.Client(), "origin/app") // another replica knows all that
	origin.Expect(t, 0, "")

	_, _ = mirror.Stop(), other.Stop()
	Age(t, mirror.Root, "origin/app", 2*time.Hour)
	mirror.Restart()
	many()
	content.Pull(t, mirror.Client(), "origin/app")
	for _, path := range []string{"HEAD /v2/app/manifests/v1", "GET /v2/app/referrers/"} {
		origin.Expect(t, 1, path)
		for _, r := range origin.Asked(path) {
			if r.Match == "" {
				t.Errorf("%s %s is not conditional", r.Method, r.URI)
			}
		}
	}
	origin.Expect(t, 2, "")
}

// What changes at the origin changes here, when it is asked again.
func TestChangesAtTheOrigin(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 0s")})
	c := mirror.Client()
	content.Pull(t, c, "origin/app")

	added := content.Attach(origin.Client, "a new signature")
	content.List(t, c, "origin/app")
	origin.Client.DeleteManifest("app", added.Digest())
	content.Attached, content.AttachedRaw = content.Attached[:3], content.AttachedRaw[:3]
	content.List(t, c, "origin/app")
	content.Attach(origin.Client, "a new signature") // the same again
	content.List(t, c, "origin/app")

	second := origin.Client.PushImage("app", "v1", "the second layer")
	c.GetManifest("origin/app", "v1").Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", second.Digest.String())
	if tags := c.Tags("origin/app"); !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("the tags are %v", tags)
	}
	origin.Client.DeleteManifest("app", second.Digest)
	c.GetManifest("origin/app", "v1").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	origin.Client.PushImage("app", "v1", "the third layer")
	c.GetManifest("origin/app", "v1").Expect(http.StatusOK)
}

// What is here costs the same storage operations as what was pushed here. Of tags and lists it is
// known in memory whether they are fresh.
func TestOperationsOfWarmPulls(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	driver := faultdriver.New(inmemory.New())
	r := inprocess.Start(t, driver, inprocess.Options{Mirror: harness.Configf("{upstreams: {origin: {url: %s, ttl: 1h}}}", origin.URL)})
	local := Push(r.Client, "local/app")
	content.Pull(t, r.Client, "origin/app")
	awaitDownloads(t, driver, "origin/app")
	digest := func(c *Content) string { return c.Image.Digest.String() }
	for name, path := range map[string]func(repository string, c *Content) string{
		"tag":      func(repository string, _ *Content) string { return harness.ManifestPath(repository, "v1") },
		"manifest": func(repository string, c *Content) string { return harness.ManifestPath(repository, digest(c)) },
		"blob":     func(repository string, c *Content) string { return harness.BlobPath(repository, c.Layer.Digest) },
		"list":     func(repository string, c *Content) string { return harness.OCI.Path(repository, c.Image.Digest) },
	} {
		cost := func(repository string, c *Content) (list []string) {
			r.Get(path(repository, c), harness.AcceptAll).Expect(http.StatusOK) // so that all is known that is kept in memory
			driver.Reset()
			r.Get(path(repository, c), harness.AcceptAll).Expect(http.StatusOK)
			for _, o := range driver.Operations() {
				if !strings.Contains(o.Path, "/_refs/derived/") && !strings.HasPrefix(o.Path, layout.Collection) {
					list = append(list, o.String())
				}
			}
			return list
		}
		here, there := cost("local/app", local), cost("origin/app", content)
		if len(there) > len(here) {
			t.Errorf("a %s that was pushed here costs %d:\n%s\none of a mirror %d:\n%s", name,
				len(here), strings.Join(here, "\n"), len(there), strings.Join(there, "\n"))
		}
	}
}

// awaitDownloads waits for what a mirror writes when the last byte has been sent already.
func awaitDownloads(t *testing.T, driver storagedriver.StorageDriver, repository string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		uploads, err := driver.List(t.Context(), path.Dir(layout.Upload(repository, "any")))
		switch {
		case err != nil:
			t.Fatal(err)
		case len(uploads) == 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("these downloads do not end: %v", uploads)
		}
	}
}

// What is deleted here, or collected, is got again, even while the answers that named it count.
func TestWhatIsGoneHereIsGotAgain(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
	c := mirror.Client()
	content.Pull(t, c, "origin/app")
	c.DeleteManifest("origin/app", content.Attached[0].Digest())
	content.List(t, c, "origin/app")
	c.Delete(harness.BlobPath("origin/app", content.Layer.Digest)).Expect(http.StatusAccepted)
	c.DeleteManifest("origin/app", content.Attached[2].Digest())
	c.DeleteManifest("origin/app", content.Image.Digest)
	content.Pull(t, c, "origin/app")

	c.DeleteManifest("origin/app", content.Attached[1].Digest())
	origin.Fail(Drop)
	c.Get(harness.OCI.Path("origin/app", content.Image.Digest)).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
}

// What an origin lists that does not refer to the subject is not listed, and costs nothing again.
func TestUnrelatedManifestsAreNotListed(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	unrelated := origin.Client.PushImage("app", "other", "another image")
	origin.Fail(ListsAlso(unrelated.Digest.String()))
	mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
	content.List(t, mirror.Client(), "origin/app")
	content.List(t, mirror.Client(), "origin/app")
	origin.Expect(t, 1, "GET /v2/app/referrers/")
	origin.Expect(t, 1, "GET /v2/app/manifests/"+unrelated.Digest.String())
}
