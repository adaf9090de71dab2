package blackbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// status is what `registry status CONFIG` says.
type status struct {
	Version      string   `json:"version"`
	Storage      string   `json:"storage"`
	Extensions   []string `json:"extensions"`
	Replicas     int      `json:"replicas"`
	Repositories int      `json:"repositories"`
	Index        struct {
		Prepared  int `json:"preparedRepositories"`
		Manifests int `json:"manifests"`
		Unread    int `json:"unreadManifests"`
	} `json:"index"`
	Collection struct {
		Running bool `json:"running"`
		Last    *struct {
			At    time.Time `json:"at"`
			Blobs int       `json:"removedBlobs"`
			Bytes int64     `json:"removedBytes"`
		} `json:"last"`
	} `json:"collection"`
}

func statusOf(t *testing.T, config string) (s status) {
	t.Helper()
	result := harness.Run(t, "status", "--format", "json", config)
	if result.Exit != 0 {
		t.Fatalf("status: %s", result.Stderr)
	}
	if err := json.Unmarshal([]byte(result.Stdout), &s); err != nil {
		t.Fatalf("%v in %s", err, result.Stdout)
	}
	return s
}

// The status of a storage says what is in it, while a registry serves it and afterwards,
// and writes nothing.
func TestStatusOfStorage(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	if s := statusOf(t, r.Config); s.Repositories != 0 || s.Replicas != 1 || s.Collection.Last != nil || s.Version == "" || s.Storage != "filesystem "+r.Root {
		t.Errorf("the status of an empty registry is %+v", s)
	}
	image := c.PushImage("app", "v1", "image")
	c.MustPush("app", "", harness.OCIIndex().Typed("note/x").To(image))
	c.PushImage("other/app", "v1", "another image")
	garbage := c.PushBlob("app", []byte("garbage"))
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped := statusOf(t, r.Config)
	if stopped.Repositories != 2 || stopped.Index.Manifests != 3 || stopped.Replicas != 0 || !slices.Contains(stopped.Extensions, "oci") || slices.Contains(stopped.Extensions, "browse") {
		t.Errorf("the status is %+v", stopped)
	}
	if result := harness.Run(t, "referrers", "rebuild", r.Config); result.Exit != 0 {
		t.Fatal(result.Stderr)
	}
	if s := statusOf(t, r.Config); s.Index.Unread != 0 || s.Index.Prepared != 2 {
		t.Errorf("the index is %+v", s.Index)
	}
	if result := harness.Run(t, "garbage-collect", "--quiet", r.Config); result.Exit != 0 {
		t.Fatal(result.Stderr)
	}
	last := statusOf(t, r.Config).Collection.Last
	if last == nil || last.Blobs != 1 || last.Bytes != garbage.Size || time.Since(last.At) > time.Hour {
		t.Errorf("the last collection is %+v", last)
	}
	text := harness.Run(t, "status", r.Config).Stdout
	for _, want := range []string{"version ", "storage       filesystem " + r.Root, "repositories  2\n", "index         2 of 2 repositories prepared, with 3 manifests\n", "removed 0 manifests and 1 blob, 7 B\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the status is\n%s, without %q", text, want)
		}
	}
	if result := harness.Run(t, "garbage-collect", "--quiet", "--dry-run", r.Config); result.Exit != 0 || statusOf(t, r.Config).Collection.Last.Blobs != 1 {
		t.Error("a dry run counts as a collection")
	}
}

// A running registry is asked over HTTP, for what the client may know.
func TestStatusOfURL(t *testing.T) {
	t.Parallel()
	open := harness.Start(t, harness.Options{Driver: harness.InMemory, Config: "http: {prefix: /reg/}"})
	client := *open.Client()
	client.URL += "/reg"
	for i := range 3 {
		client.PushImage(fmt.Sprintf("app-%d", i), "v1", "image")
	}
	closed := harness.Start(t, harness.Options{Driver: harness.InMemory, Config: harness.HTPasswd(t, "tester", "secret")})
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	for name, test := range map[string]struct {
		url  string
		want []string
		code int
	}{
		"open":              {open.URL + "/reg/", []string{"access        granted\n", "extensions    _oras, _oci", "repositories  3\n"}, 0},
		"closed":            {closed.URL, []string{`credentials are needed: Basic realm="tests"`}, 0},
		"with credentials":  {strings.Replace(closed.URL, "://", "://tester:secret@", 1), []string{"tester:xxxxx@", "access        granted\n", "repositories  0\n"}, 0},
		"wrong credentials": {strings.Replace(closed.URL, "://", "://tester:wrong@", 1), []string{"tester:xxxxx@", "the credentials are refused: 401 Unauthorized\n"}, 1},
		"no password":       {strings.Replace(closed.URL, "://", "://tester@", 1), []string{"missing username or password"}, 1},
		"no registry":       {page.URL, []string{"there is no registry"}, 1},
		"nobody there":      {"http://127.0.0.1:1", []string{"connection refused"}, 1},
		"no host":           {"http://", []string{"is not a URL"}, 1},
	} {
		result := harness.Run(t, "status", test.url)
		for _, want := range test.want {
			if output := result.Stdout + result.Stderr; result.Exit != test.code || !strings.Contains(output, want) || strings.Contains(output, "secret") || strings.Contains(output, ":wrong") {
				t.Errorf("%s: %d %s, want %q", name, result.Exit, output, want)
			}
		}
	}
	result := harness.Run(t, "status", "--format", "json", open.URL+"/reg")
	var answer struct {
		Repositories *int `json:"repositories"`
	}
	if err := json.Unmarshal([]byte(result.Stdout), &answer); err != nil || answer.Repositories == nil || *answer.Repositories != 3 {
		t.Errorf("%v: %s", err, result.Stdout)
	}
	if result := harness.Run(t, "status", "--format", "yaml", open.URL); result.Exit != 1 || !strings.Contains(result.Stderr, "must be text or json") {
		t.Errorf("%+v", result)
	}
}

// A password for a registry with tokens goes to the realm that the registry names, and to it
// alone.
func TestStatusOfURLWithTokens(t *testing.T) {
	t.Parallel()
	issuer := harness.NewTokenIssuer(t)
	realm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "tester" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"errors": [{"code": "UNAUTHORIZED", "message": "no such \u001b[31muser"}]}`))
			return
		}
		access := []*harness.Access{harness.Repository("app", "pull", "push")}
		if r.URL.Query().Get("scope") == "registry:catalog:*" {
			access = append(access, &harness.Access{Type: "registry", Name: "catalog", Actions: []string{"*"}})
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": strings.TrimPrefix(issuer.Bearer(access...), "Bearer ")})
	}))
	t.Cleanup(realm.Close)
	r := harness.Start(t, harness.Options{Driver: harness.InMemory, Config: strings.Replace(issuer.Config, harness.TokenRealm, realm.URL+"/token", 1)})
	r.Client().With(issuer.Bearer(harness.Repository("app", "pull", "push"))).PushImage("app", "v1", "image")

	// The test looks at what the registry gets.
	backend, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(backend)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if header := r.Header.Get("Authorization"); header != "" && !strings.HasPrefix(header, "Bearer ") {
			t.Errorf("the registry gets %q", header)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	for credentials, test := range map[string]struct {
		want []string
		code int
	}{
		"tester:secret@": {[]string{"tester:xxxxx@", "access        granted\n", "extensions    _oras, _oci", "repositories  1\n"}, 0},
		"tester:wrong@":  {[]string{"the credentials are refused", realm.URL + "/token", `no such \x1b[31muser`}, 1},
		"":               {[]string{`credentials are needed: Bearer realm="` + realm.URL}, 0},
	} {
		result := harness.Run(t, "status", strings.Replace(front.URL, "://", "://"+credentials, 1))
		for _, want := range test.want {
			if output := result.Stdout + result.Stderr; result.Exit != test.code || !strings.Contains(output, want) || strings.Contains(output, "secret") || strings.Contains(output, "wrong") {
				t.Errorf("%q: %d %s, want %q", credentials, result.Exit, output, want)
			}
		}
	}
}

// What a server says does not control the terminal.
func TestStatusOfURLPrintable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/closed/"):
			w.Header().Set("WWW-Authenticate", "Negotiate \u009b31m\xff")
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/silent/"):
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, "/discover"):
			_, _ = w.Write([]byte(`{"extensions": [{"name": "_a\u001b[31m"}, {"name": "_b\naccess        denied"}, {"name": "_é \"\u202e"}]}`))
		case strings.HasSuffix(r.URL.Path, "/_catalog"):
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	for name, test := range map[string]struct {
		url, want string
		code      int
	}{
		"extensions":      {server.URL, `extensions    _a\x1b[31m, _b\naccess        denied, _é "\u202e` + "\nrepositories  the list is not open to this client\n", 0},
		"challenge":       {server.URL + "/closed", `credentials are needed: Negotiate \u009b31m\xff` + "\n", 0},
		"other challenge": {strings.Replace(server.URL, "://", "://tester:secret@", 1) + "/closed", "the registry asks for neither a password nor a token", 1},
		"no challenge":    {server.URL + "/silent", "credentials are needed: the registry does not say which\n", 0},
	} {
		result := harness.Run(t, "status", test.url)
		if output := result.Stdout + result.Stderr; result.Exit != test.code || !strings.Contains(output, test.want) || strings.ContainsAny(output, "\x1b\u009b\u202e") {
			t.Errorf("%s: %d %q, want %q", name, result.Exit, output, test.want)
		}
	}
}

// The status names the upstreams of a mirror, and not its credentials.
func TestStatusOfMirror(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Config: `
extensions: {mirror: {upstreams: {
  quay.io: {url: 'https://quay.io/mirrored'}, docker.io: {url: 'https://registry-1.docker.io', username: bot, password: hidden}}}}
`})
	result := harness.Run(t, "status", r.Config)
	const line = "mirror        docker.io from registry-1.docker.io, quay.io from quay.io/mirrored\n"
	if result.Exit != 0 || !strings.Contains(result.Stdout, line) || strings.Contains(result.Stdout, "hidden") {
		t.Errorf("%s%s", result.Stdout, result.Stderr)
	}
}
