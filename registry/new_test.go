package registry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/registry"
)

// If a registry cannot be created, New returns an error. It leaves none of our goroutines
// behind, and the log unchanged.
func TestNewFails(t *testing.T) {
	before := logrus.GetLevel()
	for name, test := range map[string]struct{ text, names string }{
		"unknown extension":   {"storage: inmemory\nextensions: {none: {}}", "extensions.none: unknown key"},
		"bad key":             {"storage: inmemory\nextensions: {referrers: {wait: soon}}", "extensions.referrers.wait"},
		"unknown driver":      {"storage: {floppy: {}}", "floppy"},
		"unknown auth":        {"storage: inmemory\nauth: {none-such: {}}", "none-such"},
		"unknown middleware":  {"storage: inmemory\nmiddleware: {registry: [{name: none}]}", "none"},
		"bad driver settings": {"storage: {filesystem: {maxthreads: none}}", "maxthreads"},
		"bad read-only mode":  {"storage: {inmemory: {}, maintenance: {readonly: true}}", "readonly"},
		"bad cache size":      {"storage: {inmemory: {}, cache: {blobdescriptor: inmemory, blobdescriptorsize: x}}", "blobdescriptorsize"},
		"bad host":            {"storage: inmemory\nhttp: {host: '%'}", "host"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := newWith("log: {level: debug}\n" + test.text); err == nil || !strings.Contains(err.Error(), test.names) {
				t.Errorf("error %v, want one about %s", err, test.names)
			}
			expectQuiet(t)
		})
	}
	if got := logrus.GetLevel(); got != before {
		t.Errorf("the level of the log is %s, it was %s", got, before)
	}
}

// After Shutdown none of our goroutines runs, and the log is unchanged.
func TestShutdown(t *testing.T) {
	before := logrus.GetLevel()
	config, err := registry.ParseConfig([]byte("version: 0.1\nlog: {level: debug}\nstorage: inmemory\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(context.Background(), config, withScans()...)
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); len(ours()) == 0; runtime.Gosched() { // until one of them has begun
		if time.Since(start) > time.Minute {
			t.Fatal("no goroutines are found while a registry runs")
		}
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	expectQuiet(t)
	if got := logrus.GetLevel(); got != before {
		t.Errorf("the level of the log is %s, it was %s", got, before)
	}
}

// typed is an extension that brings one manifest type.
type typed extensions.ManifestType

func (typed) Name() string { return "typed" }
func (t typed) ManifestTypes() []extensions.ManifestType {
	return []extensions.ManifestType{extensions.ManifestType(t)}
}

// Registries in one process each go by their own rules for a manifest type.
func TestSeveralRegistries(t *testing.T) {
	const mediaType = "application/vnd.example.several+json"
	for _, test := range []struct {
		name   string
		list   []extensions.Extension
		status int
	}{
		{"lenient", []extensions.Extension{typed{MediaType: mediaType}}, http.StatusCreated},
		{"strict", []extensions.Extension{typed{MediaType: mediaType, ArtifactTypeRequired: true}}, http.StatusBadRequest},
		{"without", nil, http.StatusBadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			config, err := registry.ParseConfig([]byte("version: 0.1\nstorage: inmemory\n"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := registry.New(t.Context(), config, test.list...)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Shutdown(context.Background()) }()
			request := httptest.NewRequest(http.MethodPut, "/v2/app/manifests/v1", strings.NewReader(`{"mediaType":"`+mediaType+`"}`))
			request.Header.Set("Content-Type", mediaType)
			answer := httptest.NewRecorder()
			r.ServeHTTP(answer, request)
			if answer.Code != test.status {
				t.Errorf("the push is answered with %d: %s", answer.Code, answer.Body)
			}
		})
	}
}

// lists is an extension with a route, and maybe referrers of its own.
type lists struct{ own bool }

func (lists) Name() string { return "lists" }

func (l lists) Decorate(services extensions.Services) (extensions.Content, error) {
	if l.own {
		services.Referrers = struct{ extensions.Lister }{services.Referrers}
	}
	return services.Content, nil
}

func (lists) Routes(extensions.Services) []extensions.Route {
	return []extensions.Route{{Name: "lists", Path: "/v2/{name}/lists", Serve: func(http.ResponseWriter, *http.Request, extensions.Target) error { return nil }}}
}

// A pull-through cache has the routes of extensions only if one of them knows more of referrers
// than what clients have pulled: a short list would be wrong.
func TestRoutesOfCaches(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer origin.Close()
	for own, status := range map[bool]int{true: http.StatusOK, false: http.StatusNotFound} {
		config, err := registry.ParseConfig([]byte("version: 0.1\nstorage: inmemory\nproxy: {remoteurl: '" + origin.URL + "'}\n"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := registry.New(t.Context(), config, lists{own})
		if err != nil {
			t.Fatal(err)
		}
		answer := httptest.NewRecorder()
		r.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/v2/app/lists", nil))
		if answer.Code != status {
			t.Errorf("with referrers of its own %t: status %d", own, answer.Code)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// expectQuiet waits for all of our goroutines to end.
func expectQuiet(t *testing.T) {
	t.Helper()
	for start := time.Now(); len(ours()) > 0; runtime.Gosched() {
		if time.Since(start) > time.Minute {
			t.Fatalf("left behind:\n%s", strings.Join(ours(), "\n\n"))
		}
	}
}

// ours are the goroutines that run code of this project, except the tests.
func ours() (found []string) {
	stacks := make([]byte, 1<<20)
	for goroutine := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(goroutine, "oras-distribution/registry/internal/") || strings.Contains(goroutine, "oras-distribution/registry/registry.") {
			found = append(found, goroutine)
		}
	}
	return found
}
