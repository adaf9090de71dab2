// Package inprocess runs complete registries, ours and the stock one, inside a test
// process and without sockets, on storage drivers of the test.
package inprocess

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions/browse"
	"github.com/oras-distribution/registry/extensions/mirror"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/registry"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// Options say how a registry is configured.
type Options struct {
	// ReadOnly is storage.maintenance.readonly.enabled.
	ReadOnly bool
	// Background prepares all repositories after the start; otherwise each is prepared
	// when it is requested.
	Background bool
	// Wait is extensions.referrers.wait, where it is not empty.
	Wait string
	// CacheSize is extensions.referrers.cachesize, where it is not 0.
	CacheSize int
	// Browse is extensions.browse.enabled.
	Browse bool
	// Pace is extensions.collection.pace, where it is not 0.
	Pace time.Duration
	// Retention is extensions.retention in one line of YAML, where it is not empty.
	Retention string
	// Mirror is extensions.mirror, where it is not empty.
	Mirror string
}

// Registry is a running registry. Its Client talks to it without a connection: a request
// ends when the handler has returned, even if its context has ended before.
type Registry struct {
	*harness.Client
	closer io.Closer
	once   sync.Once
	err    error
}

// Close shuts the registry down in an orderly way.
func (r *Registry) Close() error {
	r.once.Do(func() { r.err = r.closer.Close() })
	return r.err
}

// Start starts our registry over a driver. It is closed with the test.
func Start(t testing.TB, driver storagedriver.StorageDriver, options Options) *Registry {
	t.Helper()
	place.mu.Lock()
	defer place.mu.Unlock()
	text := place.configuration(t, driver, options)
	if options.Wait != "" {
		text += "    wait: " + options.Wait + "\n"
	}
	if options.CacheSize != 0 {
		text += fmt.Sprintf("    cachesize: %d\n", options.CacheSize)
	}
	if options.Browse {
		text += "  browse:\n    enabled: true\n"
	}
	if options.Pace != 0 {
		text += fmt.Sprintf("  collection:\n    pace: %s\n", options.Pace)
	}
	if options.Retention != "" {
		text += "  retention: " + options.Retention + "\n"
	}
	if options.Mirror != "" {
		text += "  mirror: " + options.Mirror + "\n"
	}
	config, err := registry.ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(context.Background(), config, oras.New(), oci.New(), mirror.New(), browse.New())
	if err != nil {
		t.Fatal(err)
	}
	return running(t, r, closer(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return r.Shutdown(ctx)
	}))
}

// Stock starts the registry of distribution over a driver. It is closed with the
// test.
func Stock(t testing.TB, driver storagedriver.StorageDriver, options Options) *Registry {
	t.Helper()
	place.mu.Lock()
	defer place.mu.Unlock()
	text, _, _ := strings.Cut(place.configuration(t, driver, options), "extensions:")
	config, err := configuration.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	app := handlers.NewApp(context.Background(), config)
	return running(t, app, closer(app.Shutdown))
}

// closeTimeout is how long a registry may take to shut down, the same as for `serve`.
const closeTimeout = 5 * time.Second

type closer func() error

func (c closer) Close() error { return c() }

func running(t testing.TB, handler http.Handler, closer io.Closer) *Registry {
	t.Helper()
	r := &Registry{Client: harness.NewClient(t, "http://registry.test"), closer: closer}
	r.HTTP = &http.Client{Transport: transport{t, handler}, CheckRedirect: r.HTTP.CheckRedirect}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// place is where a configuration finds its driver: drivers are known by names,
// which last as long as the process.
var place slot

type slot struct {
	mu   sync.Mutex
	slot *faultdriver.Slot
}

func (s *slot) configuration(t testing.TB, driver storagedriver.StorageDriver, options Options) string {
	t.Helper()
	if s.slot == nil {
		registerTypes(t)
		s.slot = faultdriver.Register("slot")
		logrus.SetOutput(io.Discard) // faults fill the log
	}
	s.slot.Put(driver)
	return fmt.Sprintf(`version: 0.1
log:
  level: error
  accesslog: {disabled: true}
storage:
  slot: {}
  delete: {enabled: true}
  maintenance:
    uploadpurging: {enabled: false}
    readonly: {enabled: %v}
http: {secret: secret}
extensions:
  oci:
    orasartifacts: true
  referrers:
    background: %v
`, options.ReadOnly, options.Background)
}

// registerTypes fills distribution's table of manifest types, which has no lock, before
// any registry reads it: the stock one may be the first.
func registerTypes(t testing.TB) {
	t.Helper()
	types := append(oras.New().ManifestTypes(), oci.New().ManifestTypes()...)
	if err := namespace.RegisterTypes(types); err != nil {
		t.Fatal(err)
	}
}

// transport hands requests to a handler.
type transport struct {
	t       testing.TB
	handler http.Handler
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (response *http.Response, err error) {
	served := request.Clone(request.Context())
	served.RequestURI, served.RemoteAddr = request.URL.RequestURI(), "127.0.0.1:1"
	served.Host = request.URL.Host
	served.URL.Scheme, served.URL.Host = "", ""
	if served.Body == nil {
		served.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	recorder.Code = 0 // until the handler answers
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			response, err = nil, io.ErrUnexpectedEOF
		default:
			t.t.Errorf("%s %s: panic: %v", request.Method, request.URL, p)
			response, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	t.handler.ServeHTTP(recorder, served)
	if err := request.Context().Err(); err != nil && recorder.Code == 0 {
		return nil, err // nobody is there to read an answer
	}
	return recorder.Result(), nil
}
