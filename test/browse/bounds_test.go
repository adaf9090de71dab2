package browse

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// mostOperations is how many storage operations a page may take, and mostAtOnce how many of
// them at once.
const (
	mostOperations = 100
	mostAtOnce     = 32 // the pages: 8; the index: 16 for a listing
)

// large is a repository of so many tags, each of an image of its own with three referrers.
// One in twenty is for eight platforms.
const large = "large/app"

func fill(s *harness.Seed, tags int) {
	layer := s.Blob([]byte("layer"))
	layer.MediaType = typeLayer
	s.Many(tags, func(i int) {
		image := func(architecture string) harness.Descriptor {
			config := s.Blob(fmt.Appendf(nil, `{"os": "linux", "architecture": %q, "created": "2026-01-01T00:00:00Z", "author": "%d"}`, architecture, i))
			config.MediaType = typeConfig
			d := s.Manifest(harness.OCIImage(config, layer))
			d.Platform = &harness.Platform{OS: "linux", Architecture: architecture}
			return d
		}
		var tagged harness.Descriptor
		if i%20 > 0 {
			tagged = image("amd64")
		} else {
			var children []harness.Descriptor
			for n := range 8 {
				children = append(children, image(fmt.Sprintf("arch%d", n)))
			}
			tagged = s.Manifest(harness.OCIIndex(children...))
		}
		tag(s, fmt.Sprintf("v%05d", i), tagged.Digest)
		for _, kind := range []string{typeCosign, typeSPDX, typeInToto} {
			s.Referrer(harness.OCIIndex().Typed(kind).To(tagged).Annotated(harness.OCICreated, "2026-01-01T00:00:00Z"))
		}
	})
}

// tag lets a tag name a manifest.
func tag(s *harness.Seed, name string, d digest.Digest) {
	s.Put(layout.TagCurrent(s.Repository, name), []byte(d))
	s.Put(layout.TagIndexEntry(s.Repository, name, d)+"/"+layout.LinkName, []byte(d))
}

// views are the pages of the large repository, with the tag of an image for several
// platforms and of one for a single one.
func views() []string {
	return []string{
		"/ui/", "/ui/?q=large/", "/ui/tags/" + large, "/ui/tags/" + large + "?page=417", "/ui/tags/" + large + "?sort=name-down&page=100", "/ui/tags/" + large + "?sort=time",
		"/ui/tags/" + large + "?sort=time&q=v0001", "/ui/tags/" + large + "?q=v004", "/ui/image/" + large + "/v00400", "/ui/image/" + large + "/v00401",
		"/ui/manifest/" + large + "/v00402",
	}
}

// A page takes 100 storage operations at most, whatever has been read before, and however
// many tags there are.
func TestOperations(t *testing.T) {
	t.Parallel()
	driver := faultdriver.New(inmemory.New())
	fill(harness.NewDriverSeed(t, driver, large), 10_000)
	for i := range 200 {
		tag(harness.NewDriverSeed(t, driver, fmt.Sprintf("large/other-%03d", i)), "v1", digest.FromString("none"))
	}
	// The index writes down once what the manifests say. A page would not wait for that.
	first := inprocess.Start(t, driver, inprocess.Options{Browse: true, Wait: "10m"})
	first.Referrers(harness.OCI, large, digest.FromString("none"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range views() {
		cold := inprocess.Start(t, driver, inprocess.Options{Browse: true})
		for _, state := range []string{"cold", "warm"} {
			driver.Reset()
			page := string(cold.Get(path).Expect(http.StatusOK).Body)
			operations := driver.Operations()
			if len(operations) > mostOperations {
				t.Errorf("%s, %s: %d storage operations", path, state, len(operations))
				for _, o := range operations {
					t.Log(o)
				}
			}
			if most := driver.MostAtOnce(); most > mostAtOnce {
				t.Errorf("%s, %s: %d storage operations at once", path, state, most)
			}
			if strings.HasPrefix(path, "/ui/image/") && !strings.Contains(page, "1 signature attached") {
				t.Errorf("%s, %s: %s", path, state, page)
			}
			t.Logf("%s, %s: %d operations, %d bytes", path, state, len(operations), len(page))
		}
		if err := cold.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What is left out because it would take too many operations is said to be, and comes when
// the page is loaded again.
func TestWhatIsLeftOutIsSaid(t *testing.T) {
	t.Parallel()
	driver := faultdriver.New(inmemory.New())
	fill(harness.NewDriverSeed(t, driver, large), 48)
	c := inprocess.Start(t, driver, inprocess.Options{Browse: true})
	const note = "a page takes 100 storage operations at most"
	if page := string(c.Get("/ui/tags/" + large + "?sort=time").Body); !strings.Contains(page, note) {
		t.Errorf("nothing is said of what is left out: %s", page)
	}
	if page := string(c.Get("/ui/tags/" + large + "?sort=time").Body); strings.Contains(page, note) || strings.Contains(page, ">–<") {
		t.Errorf("what was left out has not come: %s", page)
	}
}

// A storage that does not answer makes no page wait for ever, and one that fails is not
// taken for an empty one.
func TestStorageFails(t *testing.T) {
	t.Parallel()
	driver := faultdriver.New(inmemory.New())
	fill(harness.NewDriverSeed(t, driver, large), 20)
	c := inprocess.Start(t, driver, inprocess.Options{Browse: true, Wait: "1s"})
	for _, path := range views() {
		if strings.Contains(path, "00") {
			path = "/ui/image/" + large + "/v00000"
		}
		c.Get(path)
		driver.Reset()
		c.Get(path).Expect(http.StatusOK)
		operations := driver.Count()
		for k := 1; k <= operations; k++ {
			driver.Reset()
			driver.FailAt(k, faultdriver.Fail)
			answer := c.Get(path)
			body := string(answer.Body)
			switch {
			case answer.Status == http.StatusOK && !strings.Contains(body, "be read") && !strings.Contains(body, "not read") && !strings.Contains(body, ">–<"):
				if len(driver.Hit()) > 0 && !strings.Contains(driver.Hit()[0].Path, "_refs/derived") {
					t.Errorf("%s does not say that %s failed: %s", path, driver.Hit()[0], body)
				}
			case answer.Status == http.StatusOK:
			case answer.Status != http.StatusInternalServerError || !strings.Contains(body, "<h1>The registry has failed</h1>"):
				t.Errorf("%s: %s", path, answer)
			}
			if strings.Contains(body, "injected") || strings.Contains(body, layout.Root) {
				t.Errorf("%s shows what the storage says: %s", path, body)
			}
		}
	}
	driver.Reset()
	driver.FailFrom(1, faultdriver.Hang)
	began := time.Now()
	c.Get("/ui/tags/" + large).Expect(http.StatusServiceUnavailable)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the answer took %s", took)
	}
	driver.Reset()
}
