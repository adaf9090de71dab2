// Package mirror runs mirrors, as processes, in front of registries that do what a test tells
// them to. It is for tests only.
package mirror

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // where origins store
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/registry"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// The account that mirrors have at an origin that wants one.
const (
	User     = "bot"
	Password = "opensesame"
)

// Fault answers a request instead of a registry, which it may ask.
type Fault func(w http.ResponseWriter, r *http.Request, registry http.Handler)

// Origin is a registry that mirrors ask. It counts what it is asked, and does what a Fault
// says.
type Origin struct {
	// Client pushes. Its requests are not counted, and nothing goes wrong with them.
	Client *harness.Client
	// URL is what mirrors ask.
	URL string
	// Server is what listens there.
	Server *httptest.Server
	// Registry is what answers.
	Registry http.Handler

	mu       sync.Mutex
	fault    Fault
	requests []Request
}

// Request is one that an origin was asked.
type Request struct {
	Method, URI, Authorization string
	// Match is what it was asked with that the mirror has: the entity tag.
	Match string
}

// NewOrigin starts an origin that lists referrers by the API of OCI 1.1.
func NewOrigin(t testing.TB) *Origin {
	t.Helper()
	logrus.SetOutput(io.Discard) // what goes wrong fills the log
	config, err := registry.ParseConfig([]byte(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {inmemory: {}, delete: {enabled: true}}
extensions: {oci: {orasartifacts: true}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(context.Background(), config, oras.New(), oci.New())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = r.Shutdown(ctx)
	})
	return Before(t, r)
}

// Before makes an origin of any registry.
func Before(t testing.TB, registry http.Handler) *Origin {
	t.Helper()
	direct := httptest.NewServer(registry)
	t.Cleanup(direct.Close)
	o := &Origin{Client: harness.NewClient(t, direct.URL), Registry: registry}
	o.Server = httptest.NewServer(o)
	t.Cleanup(func() {
		o.Server.CloseClientConnections()
		o.Server.Close()
	})
	o.URL = o.Server.URL
	return o
}

// ServeHTTP implements http.Handler.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.requests = append(o.requests, Request{r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("If-None-Match")})
	fault := o.fault
	o.mu.Unlock()
	if fault != nil {
		fault(w, r, o.Registry)
		return
	}
	o.Registry.ServeHTTP(w, r)
}

// Fail makes something go wrong from now on; nil: nothing.
func (o *Origin) Fail(fault Fault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault = fault
}

// Forget forgets what was asked.
func (o *Origin) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = nil
}

// Asked is what was asked since Forget with a text in it.
func (o *Origin) Asked(text string) (asked []Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if strings.Contains(r.Method+" "+r.URI, text) {
			asked = append(asked, r)
		}
	}
	return asked
}

// Expect expects a number of requests with a text in them since Forget.
func (o *Origin) Expect(t testing.TB, count int, text string) {
	t.Helper()
	if asked := o.Asked(text); len(asked) != count {
		t.Errorf("the origin was asked %d times, expected %d, for %q: %.3000v", len(asked), count, text, asked)
	}
}

// Config is the configuration of a mirror with one upstream, named origin, with further keys.
func (o *Origin) Config(keys string) string {
	return harness.Configf("extensions: {mirror: {upstreams: {origin: {url: %s, %s}}}}", o.URL, keys)
}

// WithAccount answers 401 to those who do not have the account of mirrors.
func WithAccount(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != User || password != Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="tests"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
