package mirror

import (
	"net/http"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// cacheOf starts a pull-through cache of distribution's.
func cacheOf(t *testing.T, url, config string) *harness.Registry {
	t.Helper()
	return harness.Start(t, harness.Options{Config: harness.Configf(
		"proxy: {remoteurl: %s, username: %s, password: %s}\nextensions: {oci: {orasartifacts: true}, browse: {enabled: true}}\n%s", url, User, Password, config)})
}

// but lets requests through that a cache of distribution's sends when it starts.
func but(fault Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		if r.URL.Path == "/v2/" {
			registry.ServeHTTP(w, r)
			return
		}
		fault(w, r, registry)
	}
}

// Distribution's pull-through cache lists what its origin lists, also when that is gone.
func TestPullThroughCacheListsReferrers(t *testing.T) {
	origin := NewOrigin(t)
	origin.Registry = WithAccount(origin.Registry)
	content, other := Push(origin.Client, "team/app"), Push(origin.Client, "team/other")
	unsigned := origin.Client.PushImage("team/app", "unsigned", "nothing is attached to it")
	cache := cacheOf(t, origin.URL, "")
	content.Pull(t, cache.Client(), "team/app")
	cache.Client().GetManifest("team/app", "unsigned").Expect(http.StatusOK)
	expectNone := func() {
		t.Helper()
		for _, route := range harness.Routes() {
			if list := cache.Client().Referrers(route, "team/app", unsigned.Digest); len(list) > 0 {
				t.Errorf("%s lists %v", route.Name, list)
			}
		}
	}
	expectNone()

	origin.Forget()
	content.List(t, cache.Client(), "team/app")
	origin.Expect(t, 0, "referrers")

	for _, fault := range []Fault{Drop, Refuse(http.StatusInternalServerError, "UNKNOWN"), Page(http.StatusOK)} {
		origin.Fail(but(fault))
		cache.Restart()
		content.Pull(t, cache.Client(), "team/app")
		expectNone()
		for _, route := range harness.Routes() {
			resp := cache.Client().Get(route.Path("team/other", other.Image.Digest)).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
			if resp.Header.Get("Retry-After") == "" {
				t.Errorf("there is no Retry-After: %s", resp)
			}
		}
	}
	cache.Client().Get("/ui/").Expect(http.StatusNotFound)
}

// All that a pull-through cache has comes from its origin: what that has deleted is not listed,
// although the cache still has it.
func TestPullThroughCacheForgetsWhatIsDeleted(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	cache := cacheOf(t, origin.URL, "")
	content.Attach(origin.Client, "what is deleted")
	last := len(content.Attached) - 1
	deleted := content.Attached[last].Digest()
	cache.Client().GetManifest("app", deleted.String()).Expect(http.StatusOK)
	origin.Client.Delete(harness.ManifestPath("app", deleted.String())).Expect(http.StatusAccepted)
	content.Attached, content.AttachedRaw = content.Attached[:last], content.AttachedRaw[:last]
	content.Pull(t, cache.Client(), "app")
}

// What a pull-through cache lists, nobody sees who may not pull it.
func TestPullThroughCacheChecksAccess(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	cache := cacheOf(t, origin.URL, harness.HTPasswd(t, "me", "mine"))
	for _, route := range harness.Routes() {
		path := route.Path("app", content.Image.Digest)
		for _, authorization := range []string{"", harness.Basic("me", "wrong")} {
			cache.Client().With(authorization).Get(path).ExpectError(http.StatusUnauthorized, "UNAUTHORIZED")
		}
		origin.Expect(t, 0, "referrers")
		list := harness.Digests(route.Entries(cache.Client().With(harness.Basic("me", "mine")).Get(path).Expect(http.StatusOK)))
		content.Whole(t, route, list)
		origin.Forget()
	}
}

// The URL of an origin may have a path for distribution, which stands before /v2/. Then nothing
// is listed, rather than too little.
func TestPullThroughCacheOfAPath(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	origin.Fail(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		http.StripPrefix("/below", registry).ServeHTTP(w, r)
	})
	cache := cacheOf(t, origin.URL+"/below", "")
	cache.AwaitLog("proxy.remoteurl must be a host without a path")
	cache.Client().Get(harness.OCI.Path("app", content.Image.Digest)).Expect(http.StatusNotFound)
}

// What an origin lists of a type that is disabled here is left out.
func TestDisabledTypesAreNotListed(t *testing.T) {
	for name, way := range map[string]struct{ config, repository string }{
		"mirror": {"extensions: {oras: {enabled: false}, mirror: {upstreams: {origin: {url: %s}}}}", "origin/app"},
		"cache":  {"extensions: {oras: {enabled: false}}\nproxy: {remoteurl: %s}", "app"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := NewOrigin(t)
			content := Push(origin.Client, "app")
			here := harness.Start(t, harness.Options{Config: harness.Configf(way.config, origin.URL)}).Client()
			list := harness.Digests(here.Referrers(harness.OCI, way.repository, content.Image.Digest))
			content.Attached = content.Attached[:len(content.Attached)-1] // the last is an ORAS artifact
			content.Whole(t, harness.OCI, list)
		})
	}
}
