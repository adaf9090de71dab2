package mirror

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// stranger is a server that must not get credentials. It remembers what it was asked.
type stranger struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

func newStranger(t *testing.T, answer http.Handler) *stranger {
	t.Helper()
	s := new(stranger)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Clone(r.Context()))
		s.mu.Unlock()
		answer.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// expect expects a number of requests, all without credentials.
func (s *stranger) expect(t *testing.T, count int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) != count {
		t.Errorf("the other server was asked %d times, expected %d", len(s.asked), count)
	}
	for _, r := range s.asked {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("the other server gets credentials: %v", r.Header)
		}
	}
}

// tokens is a token service for mirrors, and what it was asked.
type tokens struct {
	*httptest.Server
	mu     sync.Mutex
	scopes []string
}

const service = "origin.test"

func newTokens(t *testing.T) *tokens {
	t.Helper()
	s := new(tokens)
	s.Server = httptest.NewServer(WithAccount(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		s.mu.Lock()
		s.scopes = append(s.scopes, query["scope"]...)
		s.mu.Unlock()
		if query.Get("service") != service {
			t.Errorf("a token is asked for the service %q", query.Get("service"))
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "secrettoken." + strings.Join(query["scope"], ".")})
	})))
	t.Cleanup(s.Close)
	return s
}

// before lets only those ask a registry who have the service's token for the repository.
func (s *tokens) before(t *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope := "repository:" + remoteName(r) + ":pull"
		switch authorization := r.Header.Get("Authorization"); {
		case authorization == "Bearer secrettoken."+scope:
			next.ServeHTTP(w, r)
		default:
			if authorization != "" {
				t.Errorf("%s was asked with %q", r.URL, authorization)
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service=%q,scope=%q`, s.URL, service, scope))
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

// remoteName is the repository of a request to an origin.
func remoteName(r *http.Request) string {
	name := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, kind := range []string{"/manifests/", "/blobs/", "/referrers/", "/tags/"} {
		name, _, _ = strings.Cut(name, kind)
	}
	return name
}

// Credentials go to the token service of their upstream, its tokens to the upstream, and neither
// to where blobs are redirected. Each token is for pulling from one repository.
func TestTokensOfTheOrigin(t *testing.T) {
	origin, service := NewOrigin(t), newTokens(t)
	one, two := Push(origin.Client, "team/one"), Push(origin.Client, "team/two")
	store := newStranger(t, origin.Registry)
	redirect := Elsewhere(store.URL)
	origin.Registry = service.before(t, origin.Registry)
	origin.Fail(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		if a := answer(r, registry); strings.Contains(r.URL.Path, "/blobs/") && a.Code == http.StatusOK {
			redirect(w, r, nil)
			return
		}
		registry.ServeHTTP(w, r)
	})
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mirror := harness.Start(t, harness.Options{Config: origin.Config("username: " + User + ", passwordfile: " + secret)})
	one.Pull(t, mirror.Client(), "origin/team/one")
	two.Pull(t, mirror.Client(), "origin/team/two")
	if want := []string{"repository:team/one:pull", "repository:team/two:pull"}; !slices.Equal(service.scopes, want) {
		t.Errorf("tokens were asked for %v, and not once each for %v", service.scopes, want)
	}
	store.expect(t, 8)
	secretive(t, mirror.Log())
	if strings.Contains(mirror.Log(), "secrettoken") {
		t.Error("the log shows a token")
	}
}

// A server that an origin redirects or links to gets no credentials, even if it asks for some.
func TestCredentialsStayAtTheOrigin(t *testing.T) {
	realm := newStranger(t, http.NotFoundHandler())
	for name, challenge := range map[string]string{
		"basic": `Basic realm="give"`, "bearer": fmt.Sprintf(`Bearer realm="%s/token",service="s"`, realm.URL),
	} {
		t.Run(name, func(t *testing.T) {
			other := newStranger(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				Refuse(401, "UNAUTHORIZED", "WWW-Authenticate: "+challenge)(w, r, nil)
			}))
			origin := NewOrigin(t)
			content := Push(origin.Client, "app")
			origin.Registry = WithAccount(origin.Registry)
			origin.Fail(Elsewhere(other.URL))
			mirror := harness.Start(t, harness.Options{Config: origin.Config("username: " + User + ", password: " + Password)})
			c := mirror.Client()
			c.GetManifest("origin/app", "v1").ExpectError(http.StatusForbidden, "DENIED")
			c.GetManifest("origin/app", content.Image.Digest.String()).ExpectError(http.StatusForbidden, "DENIED")
			c.Get(harness.BlobPath("origin/app", content.Layer.Digest)).ExpectError(http.StatusForbidden, "DENIED")
			c.Get(harness.OCI.Path("origin/app", content.Image.Digest)).ExpectError(http.StatusForbidden, "DENIED")
			other.expect(t, 4)
			realm.expect(t, 0)
			secretive(t, mirror.Log())
		})
	}
	t.Run("link", func(t *testing.T) {
		origin := NewOrigin(t)
		content := Push(origin.Client, "app")
		other := newStranger(t, origin.Registry)
		origin.Registry = WithAccount(origin.Registry)
		origin.Fail(ofList(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
			a := answer(r, registry)
			if a.Code == http.StatusOK {
				a.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, other.URL, r.URL.Path, SecretQuery))
			}
			begin(w, a, a.Body.Len())
			_, _ = w.Write(a.Body.Bytes())
		}))
		mirror := harness.Start(t, harness.Options{Config: origin.Config("username: " + User + ", password: " + Password)})
		secretive(t, mirror.Client().Get(harness.OCI.Path("origin/app", content.Image.Digest)).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE").String())
		other.expect(t, 0)
		secretive(t, mirror.Log())
	})
}

// reads are all requests that pull from a repository, by a name and by the other one with ns.
func reads(content *Content) (paths []string) {
	manifest, list := content.Image.Digest.String(), content.Image.Digest
	for _, form := range []struct{ name, query string }{{"origin/app", ""}, {"app", "ns=origin"}, {"origin/app", "ns=origin"}} {
		for _, path := range []string{
			harness.ManifestPath(form.name, "v1"), harness.ManifestPath(form.name, manifest), harness.BlobPath(form.name, content.Layer.Digest),
			"/v2/" + form.name + "/tags/list", harness.Draft1.Path(form.name, list), harness.RC.Path(form.name, list), harness.OCI.Path(form.name, list),
			"/oras/artifacts/v1/" + form.name + "/manifests/" + content.Attached[2].Digest().String(),
		} {
			if form.query != "" {
				separator := "?"
				if strings.Contains(path, "?") {
					separator = "&"
				}
				path += separator + form.query
			}
			paths = append(paths, path)
		}
	}
	return paths
}

// Access to the mirror is checked by the name that the repository has there, whatever name the
// client uses, and before anything is asked of the origin or anything is answered that is here.
func TestAccessIsCheckedFirst(t *testing.T) {
	issuer := harness.NewTokenIssuer(t)
	for name, way := range map[string]struct {
		config, allowed string
		others          []string
	}{
		"token": {
			issuer.Config, issuer.Bearer(harness.Repository("origin/app", "pull")),
			[]string{"", issuer.Bearer(), issuer.Bearer(harness.Repository("app", "pull", "push")), issuer.Bearer(harness.Repository("origin/app", "push"))},
		},
		"htpasswd": {harness.HTPasswd(t, "me", "mine"), harness.Basic("me", "mine"), []string{"", harness.Basic("me", "wrong")}},
	} {
		t.Run(name, func(t *testing.T) {
			origin := NewOrigin(t)
			content := Push(origin.Client, "app")
			mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h") + "\n" + way.config})
			refused := func() {
				t.Helper()
				for _, authorization := range way.others {
					for _, path := range reads(content) {
						for _, method := range []string{http.MethodGet, http.MethodHead} {
							resp := mirror.Client().With(authorization).Send(method, path, nil, harness.AcceptAll).Expect(http.StatusUnauthorized)
							if challenge := resp.Header.Get("WWW-Authenticate"); name == "token" && !strings.Contains(challenge, "repository:origin/app:pull") {
								t.Errorf("the challenge is %q: %s", challenge, resp)
							}
						}
					}
				}
			}
			refused()
			mirror.Client().Get(harness.ManifestPath("app", "v1") + "?ns=unknown").Expect(http.StatusUnauthorized) // as if it were known
			origin.Expect(t, 0, "")
			for _, path := range reads(content) {
				mirror.Client().With(way.allowed).Get(path, harness.AcceptAll).Expect(http.StatusOK)
			}
			refused() // all of it is here now
		})
	}
}

// A client names a repository by ns or by its path: it is the same one, and its own repository of
// the same name is another. No address comes from a client.
func TestNames(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	mirror := harness.Start(t, harness.Options{Config: "http: {headers: {X-Test: [of every answer]}}\n" + origin.Config("ttl: 1h")})
	c := mirror.Client()
	own := c.PushImage("app", "v1", "its own")
	for _, path := range reads(content) {
		resp := c.Get(path, harness.AcceptAll).Expect(http.StatusOK)
		if strings.Contains(path, "ns=origin") {
			resp.ExpectHeader("OCI-Namespace", "origin")
		}
	}
	origin.Expect(t, 1, "HEAD /v2/app/manifests/v1")
	origin.Expect(t, 1, "GET /v2/app/blobs/")
	c.GetManifest("app", "v1").Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", own.Digest.String())
	c.Get(harness.BlobPath("app", content.Layer.Digest)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN")

	other := newStranger(t, http.NotFoundHandler())
	origin.Forget()
	for _, ns := range []string{other.Listener.Addr().String(), other.URL, "docker.io", "origin/..", "ORIGIN", "origin:80"} {
		for _, name := range []string{"app", "origin/app"} {
			for _, path := range []string{harness.ManifestPath(name, "v1"), harness.OCI.Path(name, content.Image.Digest), "/v2/" + name + "/tags/list", "/v2/" + name + "/_oci/ext/discover"} {
				resp := c.Get(path+"?ns="+url.QueryEscape(ns), harness.AcceptAll).ExpectError(http.StatusNotFound, "NAME_UNKNOWN")
				resp.ExpectHeader("Docker-Distribution-API-Version", "registry/2.0")
				resp.ExpectHeader("X-Test", "of every answer")
			}
		}
	}
	for _, name := range []string{other.Listener.Addr().String() + "/app", "127.0.0.1/app", "docker.io/library/app"} {
		if resp := c.Get("/v2/" + name + "/manifests/v1"); resp.Status != http.StatusNotFound && resp.Status != http.StatusBadRequest {
			t.Errorf("an unknown registry: %s", resp)
		}
	}
	other.expect(t, 0)
	origin.Expect(t, 0, "")
}

// Nothing can be pushed to what is mirrored.
func TestPushesAreRefused(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
	c := mirror.Client()
	c.PushImage("app", "v1", "its own")
	blob := c.PushBlob("app", []byte("new"))
	content.Pull(t, c, "origin/app")
	image := harness.OCIImage(blob, blob)
	for _, form := range []struct{ name, query string }{{"origin/app", ""}, {"app", "&ns=origin"}, {"origin/other", ""}} {
		uploads := "/v2/" + form.name + "/blobs/uploads/?"
		for _, path := range []string{
			uploads + form.query, uploads + "digest=" + digest.FromString("x").String() + form.query,
			uploads + "mount=" + blob.Digest.String() + "&from=app" + form.query,
		} {
			c.Send(http.MethodPost, path, []byte("x"), "Content-Type: application/octet-stream").ExpectError(http.StatusMethodNotAllowed, "UNSUPPORTED")
		}
		for _, m := range []harness.Manifest{image, image.To(content.Image), harness.ORASArtifact("a/b").To(content.Image)} {
			for _, reference := range []string{"v1", "v2", m.Digest().String()} {
				path := harness.ManifestPath(form.name, reference) + "?" + form.query
				c.Send(http.MethodPut, path, m.Bytes(), "Content-Type: "+m.ContentType).ExpectError(http.StatusMethodNotAllowed, "UNSUPPORTED")
			}
		}
	}
	content.Pull(t, c, "origin/app")
}

// An upstream with a certificate of an authority of its own is asked if that is configured, and
// otherwise an error says why not.
func TestCertificates(t *testing.T) {
	certificate := harness.NewCertificate(t)
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	pair, err := tls.LoadX509KeyPair(certificate.CertFile, certificate.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(origin)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	mirror := harness.Start(t, harness.Options{Config: harness.Configf(
		"extensions: {mirror: {upstreams: {trusted: {url: %s, tls: {ca: %s}}, untrusted: {url: %s}}}}", secure.URL, certificate.CertFile, secure.URL)})
	content.Pull(t, mirror.Client(), "trusted/app")
	for _, path := range []string{
		harness.ManifestPath("untrusted/app", "v1"), harness.BlobPath("untrusted/app", content.Layer.Digest),
		harness.OCI.Path("untrusted/app", content.Image.Digest),
	} {
		resp := mirror.Client().Get(path, harness.AcceptAll).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
		if !strings.Contains(resp.String(), "certificate") {
			t.Errorf("no word about the certificate: %s", resp)
		}
	}
}
