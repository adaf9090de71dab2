package blackbox_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestPrefix(t *testing.T) {
	for _, prefix := range []string{"/some/prefix/", "/some/prefix"} {
		configured(t, "http: {prefix: "+prefix+"}", func(t *testing.T, r *harness.Registry) {
			outside := r.Client()
			c := r.Client()
			c.URL += "/some/prefix"
			image := c.PushImage("app", "v1", "layer")
			for _, name := range []string{"one", "two"} {
				resp := c.Push("app", "", harness.ORASArtifact("a/b").To(image).Annotated("name", name)).Expect(http.StatusCreated)
				if location := resp.Header.Get("Location"); !strings.HasPrefix(location, c.URL+"/v2/app/manifests/") {
					t.Errorf("Location is %q", location)
				}
			}
			onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
				pages := c.Walk(route, route.With("app", image.Digest, "n", "1"), nil)
				if len(pages) != 2 || !strings.HasPrefix(pages[0].Next(), "/some/prefix/") {
					t.Errorf("%d pages, the second at %q", len(pages), pages[0].Next())
				}
			})
			for _, path := range ownPaths(image) {
				c.Get(path).Expect(http.StatusOK)
				outside.Get(path).Expect(http.StatusNotFound)
			}
		})
	}
}

func TestConfiguredHeaders(t *testing.T) {
	configured(t, "http: {headers: {X-Content-Type-Options: [nosniff], X-Two: [a, b]}}", func(t *testing.T, r *harness.Registry) {
		c := r.Client()
		image := c.PushImage("app", "v1", "layer")
		for _, path := range append(ownPaths(image), "/v2/app/referrers/bad:digest", "/v2/app/manifests/v1") {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
				resp := c.Send(method, path, nil)
				resp.ExpectHeader("X-Content-Type-Options", "nosniff")
				if got := resp.Header.Values("X-Two"); strings.Join(got, ",") != "a,b" {
					t.Errorf("X-Two is %q: %s", got, resp)
				}
			}
		}
	})
}

func TestAccessLog(t *testing.T) {
	configured(t, "", func(t *testing.T, r *harness.Registry) {
		c := r.Client()
		image := c.PushImage("app", "v1", "layer")
		for _, path := range ownPaths(image) {
			resp := c.Get(path).Expect(http.StatusOK)
			r.AwaitLog(`"GET ` + regexp.QuoteMeta(path) + ` HTTP/1.1" 200 `)
			logged := regexp.MustCompile(`"GET `+regexp.QuoteMeta(path)+` HTTP/1.1" 200 (\d+) `).FindAllStringSubmatch(r.Log(), -1)
			if len(logged) != 1 || len(resp.Header.Values("Content-Length")) != 1 || logged[0][1] != resp.Header.Get("Content-Length") {
				t.Errorf("%s is logged as %v, expected once with the length %q", path, logged, resp.Header.Get("Content-Length"))
			}
		}
		c.Get("/v2/app/referrers/bad:digest").Expect(http.StatusBadRequest)
		r.AwaitLog(`"GET /v2/app/referrers/bad:digest HTTP/1.1" 400 `)
	})
}

func TestAccessLogThatIsDisabled(t *testing.T) {
	configured(t, "log: {accesslog: {disabled: true}}", func(t *testing.T, r *harness.Registry) {
		c := r.Client()
		image := c.PushImage("app", "v1", "layer")
		for _, path := range ownPaths(image) {
			c.Get(path).Expect(http.StatusOK)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if strings.Contains(r.Log(), "HTTP/1.1\" 200") {
			t.Errorf("a request is logged:\n%s", r.Log())
		}
	})
}

func TestMetrics(t *testing.T) {
	for _, driver := range harness.Drivers() {
		debug := harness.FreeAddr(t)
		r := harness.Start(t, harness.Options{
			Driver: driver,
			Config: "http: {debug: {addr: '" + debug + "', prometheus: {enabled: true}}}",
		})
		c := r.Client()
		image := c.PushImage("app", "v1", "layer")
		for _, path := range ownPaths(image) {
			c.Get(path).Expect(http.StatusOK)
		}
		c.Get("/v2/app/referrers/bad:digest").Expect(http.StatusBadRequest)
		text := harness.AwaitHTTP(t, "http://"+debug+"/metrics")
		for _, handler := range []string{
			"oci_referrers", "oras_referrers", "oras_ext_referrers", "oras_manifest", "oci_discover", "oci_discover_repository",
			"manifest", "blob",
		} {
			pattern := regexp.MustCompile(`(?m)^registry_http_requests_total\{code="200",handler="` + handler + `",method="get"\} [1-9]`)
			if handler == "blob" {
				pattern = regexp.MustCompile(`(?m)^registry_http_requests_total\{[^}]*handler="blob_upload"`)
			}
			if !pattern.MatchString(text) {
				t.Errorf("no request of %s is counted", handler)
			}
		}
		if !regexp.MustCompile(`(?m)^registry_http_requests_total\{code="400",handler="oci_referrers",method="get"\} 1$`).MatchString(text) {
			t.Error("a refused request is not counted")
		}
	}
}

func TestUnhealthyRegistryAnswersNothing(t *testing.T) {
	for _, driver := range harness.Drivers() {
		flag := filepath.Join(t.TempDir(), driver)
		c := harness.Start(t, harness.Options{
			Driver: driver, Config: "health: {file: [{file: '" + flag + "', interval: 20ms}]}",
		}).Client()
		image := c.PushImage("app", "v1", "layer")
		c.Get("/v2/app/referrers/" + image.Digest.String()).Expect(http.StatusOK)
		if err := os.WriteFile(flag, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		await(t, "the registry to become unhealthy", func() bool { return c.Get("/v2/").Status == http.StatusServiceUnavailable })
		for _, path := range ownPaths(image) {
			c.Get(path).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
		}
	}
}

// await waits for a condition.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for !so() {
		select {
		case <-t.Context().Done():
			t.Fatalf("waiting for %s", what)
		default:
		}
	}
}

func TestTLS(t *testing.T) {
	certificate := harness.NewCertificate(t)
	config := harness.Configf("http: {tls: {certificate: %s, key: %s}}", certificate.CertFile, certificate.KeyFile)
	configured(t, config, func(t *testing.T, r *harness.Registry) {
		c := r.Client().Trusting(certificate.PEM)
		image := c.PushImage("app", "v1", "layer")
		c.MustPush("app", "", harness.ORASArtifact("a/b").To(image))
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			if found := c.Referrers(route, "app", image.Digest, "n", "1"); len(found) != 1 {
				t.Errorf("%d referrers", len(found))
			}
		})
		if !strings.HasPrefix(r.URL, "https://") {
			t.Errorf("it listens at %s", r.URL)
		}
	})
}

func TestDeletionThatIsDisabled(t *testing.T) {
	configured(t, "storage: {delete: {enabled: false}}", func(t *testing.T, r *harness.Registry) {
		c := r.Client()
		image, kinds := everyKind(c, "app")
		for _, kind := range kinds {
			c.MustPush("app", "tag", kind.manifest)
			path := harness.ManifestPath("app", kind.manifest.Digest().String())
			c.Delete(path).ExpectError(http.StatusMethodNotAllowed, "UNSUPPORTED")
			c.GetManifest("app", kind.manifest.Digest().String()).Expect(http.StatusOK)
		}
		c.Delete(harness.ManifestPath("app", "tag")).ExpectError(http.StatusMethodNotAllowed, "UNSUPPORTED")
		want := 0
		for _, kind := range kinds {
			if kind.manifest.Subject != nil {
				want++
			}
		}
		if found := c.Referrers(harness.OCI, "app", image.Digest); len(found) != want {
			t.Errorf("%d referrers are listed, want %d", len(found), want)
		}
	})
}

// A read-only registry answers as before and writes nothing.
func TestReadOnly(t *testing.T) {
	driver := harness.SharedDriver()
	writing := harness.Start(t, harness.Options{Driver: driver})
	c := writing.Client()
	image, kinds := everyKind(c, "app")
	for _, kind := range kinds {
		c.MustPush("app", "", kind.manifest)
	}
	want := c.Referrers(harness.OCI, "app", image.Digest)
	if err := writing.Stop(); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, writing.Root)

	reading := harness.Start(t, harness.Options{
		Driver: driver, Root: writing.Root,
		Config: "storage: {maintenance: {readonly: {enabled: true}}}",
	})
	c = reading.Client()
	equal(t, "referrers", c.Referrers(harness.OCI, "app", image.Digest), want)
	m := harness.ORASArtifact("late/type").To(image)
	for _, resp := range []*harness.Response{
		c.Push("app", "", m), c.Push("app", "late", m),
		c.Delete(harness.ManifestPath("app", image.Digest.String())), c.Delete(harness.ManifestPath("app", "v1")),
		c.Send(http.MethodPost, "/v2/app/blobs/uploads/", nil),
	} {
		resp.Expect(http.StatusMethodNotAllowed)
	}
	onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
		c.Get(route.Path("none", image.Digest)).Expect(http.StatusOK)
	})
	equal(t, "referrers", c.Referrers(harness.OCI, "app", image.Digest), want)
	if err := reading.Stop(); err != nil {
		t.Error(err)
	}
	equal(t, "the tree", snapshot(t, writing.Root), before)
}

// snapshot is the files of a tree with their sizes and times. It is empty for a storage
// that is not on this machine.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	if !filepath.IsAbs(root) {
		return files
	}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files[path] = info.ModTime().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
