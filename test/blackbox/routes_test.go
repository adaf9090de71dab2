package blackbox_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestDiscovery(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		for _, path := range []string{"/v2/_oci/ext/discover", "/v2/some/app/_oci/ext/discover"} {
			resp := c.Get(path).Expect(http.StatusOK)
			resp.ExpectHeader("Content-Type", "application/json").ExpectLength(-1)
			resp.ExpectHeader("Docker-Distribution-API-Version", "registry/2.0")
			c.Head(path).Expect(http.StatusOK).ExpectBody(nil).ExpectLength(len(resp.Body))
			var found struct {
				Extensions []struct {
					Name, URL, Description string
					Endpoints              []string
				}
			}
			resp.JSON(&found)
			named := map[string][]string{}
			for _, e := range found.Extensions {
				named[e.Name] = e.Endpoints
				if e.URL == "" || e.Description == "" {
					t.Errorf("%s is not described: %s", e.Name, resp)
				}
			}
			equal(t, "endpoints of _oras", named["_oras"], []string{"_oras/artifacts/referrers"})
		}
	})
}

// ownPaths are the paths of all routes that distribution does not have.
func ownPaths(image harness.Descriptor) []string {
	d := image.Digest.String()
	return []string{
		"/v2/app/referrers/" + d, "/v2/app/_oras/artifacts/referrers?digest=" + d,
		"/oras/artifacts/v1/app/manifests/" + d + "/referrers", "/oras/artifacts/v1/app/manifests/" + d,
		"/oras/artifacts/v1/app/manifests/v1", "/v2/_oci/ext/discover", "/v2/app/_oci/ext/discover",
	}
}

func TestMethodsThatARouteDoesNotTake(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		for _, path := range ownPaths(image) {
			for _, method := range []string{"PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "WHATEVER"} {
				resp := c.Send(method, path, []byte("{}"), "Content-Type: "+harness.MediaTypeORASArtifact)
				resp.ExpectError(http.StatusMethodNotAllowed, "UNSUPPORTED")
				resp.ExpectHeader("Docker-Distribution-API-Version", "registry/2.0").ExpectLength(-1)
				allow := strings.Split(resp.Header.Get("Allow"), ", ")
				slices.Sort(allow)
				if !slices.Equal(allow, []string{"GET", "HEAD"}) {
					t.Errorf("Allow is %q: %s", resp.Header.Values("Allow"), resp)
				}
			}
		}
		c.GetManifest("app", "v1").Expect(http.StatusOK)
	})
}

// Paths that are similar to those of a route are left to distribution, and never a
// listing.
func TestPathsThatAreNoRoute(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		d := image.Digest.String()
		for _, path := range []string{
			"/oras/artifacts/v1", "/oras/artifacts/v1/", "/oras/artifacts/v1/app", "/oras/artifacts/v2/app/manifests/" + d + "/referrers",
			"/oras/artifacts/v1/app/blobs/" + d, "/v2/app/referrers", "/v2/app/referrers/", "/v2/app/_oras/artifacts",
			"/v2/_oci/ext", "/v2/app/_oci/ext/other", "/v2/app/referrers/" + d + "/", "/referrers/" + d,
			"/oras/artifacts/v1/app/manifests/" + d + "/referrers/x",
		} {
			if resp := c.Get(path); resp.Status < 400 || resp.Status >= 500 {
				t.Errorf("%s", resp)
			}
		}
		c.Get("/v2/referrers/" + d).Expect(http.StatusNotFound)
	})
}

// Repositories may be named like the parts of routes.
func TestRepositoriesNamedLikeRoutes(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		for _, name := range []string{
			"referrers", "manifests", "app/referrers", "referrers/app", "manifests/referrers", "app/manifests/referrers",
			"oras/artifacts/v1", "blobs/uploads", "tags/list", "v2", "v2/v2",
		} {
			image := c.PushImage(name, "v1", "layer of "+name)
			m := harness.ORASArtifact("a/b").To(image)
			c.MustPush(name, "sbom", m)
			onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
				sameDigests(t, name, c.Referrers(route, name, image.Digest), m.Digest())
			})
			c.Get("/oras/artifacts/v1/" + name + "/manifests/sbom").Expect(http.StatusOK).ExpectBody(m.Bytes())
			equal(t, "tags of "+name, c.Tags(name), []string{"sbom", "v1"})
		}
	})
}

// A digest may be percent-encoded in the path, as some clients do.
func TestPercentEncodedPaths(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		m := harness.ORASArtifact("a/b").To(image)
		c.MustPush("app", "", m)
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			path := strings.ReplaceAll(route.Path("app", image.Digest), "sha256:", "sha256%3A")
			sameDigests(t, path, route.Entries(c.Get(path)), m.Digest())
		})
	})
}
