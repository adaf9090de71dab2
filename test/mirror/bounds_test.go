package mirror

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// random is a request for something that nobody has.
func random(i int, upstream string) (method, path string) {
	name, tag := upstream+"/app", "t"+strings.ToLower(rand.Text())
	if i%2 == 0 {
		name = upstream + "/" + strings.ToLower(rand.Text())
	}
	d := digest.FromString(rand.Text())
	method = http.MethodGet
	if i%3 == 0 {
		method = http.MethodHead
	}
	return method, []string{
		harness.ManifestPath(name, tag), harness.ManifestPath(name, d.String()), harness.BlobPath(name, d),
		harness.OCI.Path(name, d), harness.RC.Path(name, d), "/v2/" + name + "/tags/list",
	}[i%6]
}

// What clients ask for in vain fills neither the storage, nor the memory, nor the folder of
// temporary files, whether the origin is well or not.
func TestRequestsInVainLeaveNothing(t *testing.T) {
	const requests = 1000 // of each upstream
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	temporary := t.TempDir()
	mirror := harness.Start(t, harness.Options{Env: []string{"TMPDIR=" + temporary}, Config: harness.Configf(
		"log: {accesslog: {disabled: true}}\nextensions: {mirror: {upstreams: {well: {url: %s}, failing: {url: 'http://%s', timeout: 1s}}}}",
		origin.URL, harness.FreeAddr(t))})
	content.Pull(t, mirror.Client(), "well/app")
	c := mirror.Client()
	memory, open := mirror.Memory(), mirror.Files()
	for _, upstream := range []string{"well", "failing"} {
		var group errgroup.Group
		group.SetLimit(16)
		for i := range requests {
			method, path := random(i, upstream)
			group.Go(func() error {
				resp, err := c.Do(t.Context(), harness.Request{Method: method, Path: path, Header: harness.Header(harness.AcceptAll)})
				if err == nil && upstream == "failing" && resp.Status != http.StatusServiceUnavailable {
					err = resp.Err()
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	Walk(t, mirror.Root, func(path string) {
		if !strings.HasPrefix(path, layout.Collection) && !slices.ContainsFunc(content.names(), func(name string) bool { return strings.Contains(path, name) }) {
			t.Errorf("a request in vain leaves %s", path)
		}
	})
	if after := mirror.Memory(); after > memory+harness.MiB(64) {
		t.Errorf("the mirror used %d MiB, and uses %d", memory>>20, after>>20)
	}
	if after := mirror.Files(); after > open+100 {
		t.Errorf("the mirror had %d files open, and has %d", open, after)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
	content.Pull(t, mirror.Client(), "well/app")
}

// names are what the paths of all files have in them that mirrors store of some content.
func (c *Content) names() []string {
	names := []string{"/tags/v1/", "/_refs/derived/manifests", c.Image.Digest.Encoded(), c.Layer.Digest.Encoded()}
	for i, m := range c.Attached {
		names = append(names, m.Digest().Encoded(), digest.FromBytes(c.AttachedRaw[i]).Encoded())
	}
	return names
}

// numbered lists so many referrers from a number on.
func numbered(w http.ResponseWriter, next string, from, count int) {
	w.Header().Set("Content-Type", harness.MediaTypeOCIIndex)
	if next != "" {
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next))
	}
	_, _ = io.WriteString(w, `{"schemaVersion":2,"mediaType":"`+harness.MediaTypeOCIIndex+`","manifests":[`)
	for i := range count {
		separator := ","
		if i == 0 {
			separator = ""
		}
		_, _ = fmt.Fprintf(w, `%s{"mediaType":%q,"size":100,"digest":%q}`, separator, harness.MediaTypeOCIImage, digest.FromString(fmt.Sprint(from+i)))
	}
	_, _ = io.WriteString(w, "]}")
}

// An origin that lists more than anybody can use is refused, at some point.
func TestListsWithoutEndAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		list Fault
		most int // pages that are asked for
	}{
		"one page with 100,000": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) { numbered(w, "", 0, 100_000) }, 1},
		"100 pages with 1,000": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			var page int
			_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
			numbered(w, fmt.Sprintf("%s?page=%d", r.URL.Path, page+1), page*1000, 1000)
		}, 11},
		"empty pages":   {func(w http.ResponseWriter, r *http.Request, _ http.Handler) { numbered(w, r.URL.Path+"?again=1", 0, 0) }, 1000},
		"the same page": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) { numbered(w, r.URL.Path, 0, 100) }, 101},
	} {
		t.Run(name, func(t *testing.T) {
			origin := NewOrigin(t)
			content := Push(origin.Client, "app")
			mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
			mirror.Client().GetManifest("origin/app", "v1").Expect(http.StatusOK)
			memory := mirror.Memory()
			origin.Fail(ofList(row.list))
			for _, route := range harness.Routes() {
				mirror.Client().Get(route.Path("origin/app", content.Image.Digest)).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
			}
			if asked := len(origin.Asked("/referrers/")); asked > row.most {
				t.Errorf("the origin was asked for %d pages", asked)
			}
			if after := mirror.PeakMemory(); after > memory+harness.MiB(100) {
				t.Errorf("the mirror used %d MiB, and then %d", memory>>20, after>>20)
			}
			if got := origin.Asked("GET /v2/app/manifests/"); len(got) > 1 {
				t.Errorf("%d manifests are got of a list that is refused", len(got)-1)
			}
		})
	}
}
