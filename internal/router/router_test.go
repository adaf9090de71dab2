package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/gorilla/mux"

	"github.com/oras-distribution/registry/extensions"
)

// The templates of the routes that the project has.
var templates = []string{
	"/v2/{name}/referrers/{reference}",
	"/v2/{name}/_oras/artifacts/referrers",
	"/v2/_oci/ext/discover",
	"/oras/artifacts/v1/{name}/manifests/{reference}",
	"/oras/artifacts/v1/{name}/manifests/{reference}/referrers",
}

// echo answers with what a route was called for.
func echo(template string) extensions.Route {
	return extensions.Route{
		Name: "test", Path: template,
		Serve: func(w http.ResponseWriter, _ *http.Request, target extensions.Target) error {
			name := ""
			if target.Repository != nil {
				name = target.Repository.Name()
			}
			_, err := fmt.Fprintf(w, "%s %s %s", template, name, target.Reference)
			return err
		},
	}
}

// next answers for distribution.
var next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "next ", r.URL.Path) })

// serve makes a handler for routes, each with a name of its own.
func serve(t *testing.T, routes []extensions.Route, options Options) http.Handler {
	t.Helper()
	for i := range routes {
		routes[i].Name = "test_" + string(rune('a'+i))
	}
	handler, err := New(next, routes, options)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// Routes that could not be served as they were meant are refused, by name.
func TestRoutesAreChecked(t *testing.T) {
	good := echo(templates[0])
	with := func(change func(*extensions.Route)) []extensions.Route {
		other := echo("/other/{name}/{reference}")
		other.Name = "other"
		change(&other)
		return []extensions.Route{good, other}
	}
	for want, routes := range map[string][]extensions.Route{
		"route Other Name: the name must be lower case":        with(func(r *extensions.Route) { r.Name = "Other Name" }),
		"route test: the name is taken":                        with(func(r *extensions.Route) { r.Name = good.Name }),
		`route other: the path "other" must begin with /`:      with(func(r *extensions.Route) { r.Path = "other" }),
		`route other: the path "/{digest}" must begin`:         with(func(r *extensions.Route) { r.Path = "/{digest}" }),
		`route other: the path "/x/{reference}" must begin`:    with(func(r *extensions.Route) { r.Path = "/x/{reference}" }),
		`route other: the path "/{reference}/{name}" must`:     with(func(r *extensions.Route) { r.Path = "/{reference}/{name}" }),
		"route other: it must have Serve or Forward, and not":  with(func(r *extensions.Route) { r.Serve = nil }),
		"route other: it must have Serve or Forward, and not ": with(func(r *extensions.Route) { r.Forward = "/v2/" }),
		"route other: with Forward, the path must have a {name}": with(func(r *extensions.Route) {
			r.Path, r.Serve, r.Forward = "/other", nil, "/v2/"
		}),
		"route other: GET " + good.Path + " is taken by route test": with(func(r *extensions.Route) {
			r.Path, r.Methods = good.Path, []string{http.MethodPut, http.MethodGet}
		}),
	} {
		if _, err := New(next, routes, Options{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want one that begins with %q", err, want)
		}
	}
	if _, err := New(next, with(func(*extensions.Route) {}), Options{}); err != nil {
		t.Error(err)
	}
}

func get(handler http.Handler, target string) *httptest.ResponseRecorder {
	return do(handler, http.MethodGet, target)
}

func do(handler http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// code is the first code of an error body.
func code(w *httptest.ResponseRecorder) string {
	var body struct{ Errors []struct{ Code string } }
	if json.Unmarshal(w.Body.Bytes(), &body) != nil || len(body.Errors) == 0 {
		return ""
	}
	return body.Errors[0].Code
}

func TestPaths(t *testing.T) {
	var routes []extensions.Route
	for _, template := range templates {
		routes = append(routes, echo(template))
	}
	handler := serve(t, routes, Options{})
	listing, draft := templates[0], templates[4]
	for target, want := range map[string]string{
		"/v2/app/referrers/sha256:x":                               listing + " app sha256:x",
		"/v2/a/b/c/referrers/x":                                    listing + " a/b/c x",
		"/v2/a/referrers/referrers/x":                              listing + " a/referrers x",
		"/v2/referrers/referrers/referrers":                        listing + " referrers referrers",
		"/v2/a%2Fb/referrers/x":                                    listing + " a/b x",
		"/v2/a/referrers/sha256%3Ax":                               listing + " a sha256:x",
		"/v2/a/_oras/artifacts/referrers":                          templates[1] + " a ",
		"/v2/_oci/ext/discover":                                    templates[2] + "  ",
		"/oras/artifacts/v1/a/manifests/v1":                        templates[3] + " a v1",
		"/oras/artifacts/v1/a/manifests/d/referrers":               draft + " a d",
		"/oras/artifacts/v1/a/manifests/manifests/d/referrers":     draft + " a/manifests d",
		"/oras/artifacts/v1/oras/artifacts/v1/manifests/referrers": templates[3] + " oras/artifacts/v1 referrers",
		"/v2/a/referrers/x/":                                       "next",
		"/v2/a/referrers/":                                         "next",
		"/v2/a/referrers":                                          "next",
		"/v2/a/referrers/x%2Fy":                                    "next", // the slash is one
		"/v2/referrers/x":                                          "next",
		"/v2/a/referrers/manifests/x":                              "next",
		"/v2/_oci/ext/discover/":                                   "next",
		"/oras/artifacts/v1/a/manifests/d/referrers/":              "next",
		"/oras/artifacts/v1/a/blobs/d":                             "next",
		"/V2/a/referrers/x":                                        "next",
		"//v2/a/referrers/x":                                       "next",
		"/v2/a/../b/_oci/ext/discover":                             "next",
	} {
		got := get(handler, target)
		if want == "next" {
			decoded, err := url.PathUnescape(target)
			if err != nil {
				t.Fatal(err)
			}
			want += " " + decoded // distribution gets the path as it came
		}
		if got.Code != http.StatusOK || got.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", target, got.Code, got.Body, want)
		}
	}
}

// A name that is none is a bad name, and not a path that is not there.
func TestBadNames(t *testing.T) {
	handler := serve(t, []extensions.Route{echo(templates[0]), {Name: "test", Path: templates[3], Forward: "/v2/{name}/manifests/{reference}"}}, Options{})
	for _, name := range []string{
		"", "A", "a//b", "/a", "a/", "..", "a/../b", "a/./b", "-a", "a_", "a%00b", "a%0Ab", "a%20b", "%C3%A4", "a%3Ab", strings.Repeat("a", 256),
	} {
		for _, target := range []string{"/v2/" + name + "/referrers/x", "/oras/artifacts/v1/" + name + "/manifests/x"} {
			if got := get(handler, target); got.Code != http.StatusBadRequest || code(got) != "NAME_INVALID" {
				t.Errorf("%s: %d %s", target, got.Code, got.Body)
			}
		}
	}
}

// Several routes share a path, each with methods of its own.
func TestMethods(t *testing.T) {
	read, write, remove := echo(templates[0]), echo(templates[0]), echo(templates[0])
	write.Methods, write.Name = []string{http.MethodPut, http.MethodPost}, "write"
	write.Serve = func(w http.ResponseWriter, _ *http.Request, _ extensions.Target) error {
		w.WriteHeader(http.StatusCreated)
		return nil
	}
	remove.Methods, remove.Name = []string{http.MethodDelete}, "remove"
	remove.Serve = func(http.ResponseWriter, *http.Request, extensions.Target) error { return errcode.ErrorCodeDenied }
	handler := serve(t, []extensions.Route{read, write, remove}, Options{})
	for method, want := range map[string]int{
		http.MethodGet: http.StatusOK, http.MethodHead: http.StatusOK, http.MethodPut: http.StatusCreated, http.MethodPost: http.StatusCreated,
		http.MethodDelete: http.StatusForbidden, http.MethodPatch: http.StatusMethodNotAllowed, http.MethodOptions: http.StatusMethodNotAllowed,
		"WHATEVER": http.StatusMethodNotAllowed,
	} {
		got := do(handler, method, "/v2/a/referrers/x")
		if got.Code != want || got.Header().Get("Docker-Distribution-API-Version") != "registry/2.0" {
			t.Errorf("%s: %d %v", method, got.Code, got.Header())
		}
		allow := got.Header().Get("Allow")
		if refused := want == http.StatusMethodNotAllowed; refused && (allow != "GET, HEAD, PUT, POST, DELETE" || code(got) != "UNSUPPORTED") || !refused && allow != "" {
			t.Errorf("%s: Allow is %q: %s", method, allow, got.Body)
		}
	}
}

// guard is an access controller that remembers what it was asked.
type guard struct {
	asked string
	err   error
}

func (g *guard) Authorized(_ *http.Request, access ...auth.Access) (*auth.Grant, error) {
	g.asked = ""
	for _, a := range access {
		g.asked += fmt.Sprintf("%s:%s:%s ", a.Type, a.Name, a.Action)
	}
	if g.err != nil {
		return nil, g.err
	}
	return &auth.Grant{}, nil
}

// challenge is the refusal of a controller that wants credentials.
type challenge struct{ error }

func (challenge) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Test")
}

func TestAccess(t *testing.T) {
	const path, plain = "/v2/{name}/x/{reference}", "/v2/_x"
	for _, test := range []struct {
		template, target string
		access           extensions.Access
		asked            string
	}{
		{path, "/v2/a/b/x/r", extensions.AccessPull, "repository:a/b:pull "},
		{path, "/v2/a/b/x/r", extensions.AccessPush, "repository:a/b:pull repository:a/b:push "},
		{path, "/v2/a/b/x/r", extensions.AccessDelete, "repository:a/b:delete "},
		{path, "/v2/a/b/x/r", extensions.AccessCatalog, "registry:catalog:* "},
		{plain, "/v2/_x", extensions.AccessPull, ""},
		{plain, "/v2/_x", extensions.AccessCatalog, "registry:catalog:* "},
	} {
		served := false
		route := extensions.Route{
			Name: "test", Path: test.template, Access: test.access,
			Serve: func(http.ResponseWriter, *http.Request, extensions.Target) error { served = true; return nil },
		}
		for _, refusal := range []struct {
			err    error
			status int
		}{
			{nil, http.StatusOK},
			{challenge{errors.New("no credentials")}, http.StatusUnauthorized},
			{fmt.Errorf("wrapped: %w", challenge{errors.New("no credentials")}), http.StatusUnauthorized},
			{errors.New("the controller is broken"), http.StatusBadRequest},
		} {
			served = false
			controller := &guard{asked: "nothing", err: refusal.err}
			got := get(serve(t, []extensions.Route{route}, Options{Controller: controller}), test.target)
			if got.Code != refusal.status || controller.asked != test.asked || served != (refusal.err == nil) {
				t.Errorf("%s %q, %v: %d, asked for %q, served: %v", test.target, test.access, refusal.err, got.Code, controller.asked, served)
			}
			if challenged := got.Header().Get("WWW-Authenticate") != ""; challenged != (got.Code == http.StatusUnauthorized) {
				t.Errorf("%s, %v: challenged: %v", test.target, refusal.err, challenged)
			}
			if strings.Contains(got.Body.String(), "broken") {
				t.Errorf("the body says what is wrong with the controller: %s", got.Body)
			}
		}
	}
}

// A bad name and a method that is not taken say nothing to those who may not ask.
func TestAccessComesBeforeTheMethod(t *testing.T) {
	handler := serve(t, []extensions.Route{echo(templates[0])}, Options{Controller: &guard{err: challenge{errors.New("no")}}})
	if got := do(handler, http.MethodPut, "/v2/a/referrers/x"); got.Code != http.StatusUnauthorized || got.Header().Get("Allow") != "" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
}

// A forwarded request is distribution's, below the same prefix, and is authorized
// there.
func TestForward(t *testing.T) {
	controller := &guard{asked: "nothing"}
	route := extensions.Route{Name: "test", Path: "/old/{name}/manifests/{reference}", Forward: "/v2/{name}/manifests/{reference}"}
	for _, prefix := range []string{"", "/", "/a/prefix", "/a/prefix/"} {
		handler := serve(t, []extensions.Route{route}, Options{Prefix: prefix, Controller: controller})
		below := strings.TrimRight(prefix, "/")
		for target, want := range map[string]string{
			below + "/old/a/b/manifests/sha256%3Ax?q=1": "next " + below + "/v2/a/b/manifests/sha256:x",
			below + "/v2/a/b/manifests/x":               "next " + below + "/v2/a/b/manifests/x",
			below + "/x/old/a/manifests/x":              "next " + below + "/x/old/a/manifests/x",
		} {
			if got := get(handler, target); got.Body.String() != want {
				t.Errorf("prefix %q: %s: %s, want %s", prefix, target, got.Body, want)
			}
		}
		if got := do(handler, http.MethodPut, below+"/old/a/manifests/x"); got.Code != http.StatusMethodNotAllowed {
			t.Errorf("PUT: %d %s", got.Code, got.Body)
		}
	}
}

func TestHeaders(t *testing.T) {
	handler := serve(t, []extensions.Route{echo(templates[0])}, Options{Headers: http.Header{"X-Test": {"1", "2"}}})
	for _, target := range []string{"/v2/a/referrers/x", "/v2/A/referrers/x"} {
		if got := get(handler, target).Header()["X-Test"]; len(got) != 2 {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// What a route fails with is answered, a panic too, and its text stays in the log.
func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		serve  func() error
		status int
		code   string
	}{
		"a code":   {func() error { return errcode.ErrorCodeTooManyRequests }, http.StatusTooManyRequests, "TOOMANYREQUESTS"},
		"an error": {func() error { return errcode.ErrorCodeDenied.WithDetail("no") }, http.StatusForbidden, "DENIED"},
		"several":  {func() error { return errcode.Errors{errcode.ErrorCodeDenied} }, http.StatusForbidden, "DENIED"},
		"wrapped":  {func() error { return fmt.Errorf("so: %w", errcode.ErrorCodeDenied.WithDetail("no")) }, http.StatusForbidden, "DENIED"},
		"with status": {func() error {
			return extensions.StatusError{Status: http.StatusTeapot, Cause: errcode.ErrorCodeDenied.WithDetail("no")}
		}, http.StatusTeapot, "DENIED"},
		"any other": {func() error { return errors.New("secret") }, http.StatusInternalServerError, "UNKNOWN"},
		"a panic":   {func() error { panic("secret") }, http.StatusInternalServerError, "UNKNOWN"},
	} {
		route := echo(templates[0])
		route.Serve = func(http.ResponseWriter, *http.Request, extensions.Target) error { return test.serve() }
		got := get(serve(t, []extensions.Route{route}, Options{}), "/v2/a/referrers/x")
		if got.Code != test.status || code(got) != test.code || strings.Contains(got.Body.String(), "secret") {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
}

// Pulls and pushes pass through for next to nothing.
func TestPassingThroughAllocations(t *testing.T) {
	var routes []extensions.Route
	for i, template := range templates {
		routes = append(routes, echo(template))
		routes[i].Name = fmt.Sprintf("test_%c", 'a'+i)
	}
	passed := 0
	distribution := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed++ })
	handler, err := New(Recovering(Guarded(distribution)), routes, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, w := httptest.NewRequest(http.MethodGet, "/v2/team/app/manifests/latest", nil), httptest.NewRecorder()
	if n := testing.AllocsPerRun(100, func() { handler.ServeHTTP(w, r) }); n > 2 {
		t.Errorf("a request for distribution costs %v allocations before it gets there", n)
	}
	if passed == 0 {
		t.Error("the request does not get there")
	}
}

// A template takes the paths that gorilla/mux would take by regular expressions, and finds
// the same in them.
func FuzzPattern(f *testing.F) {
	for _, path := range []string{
		"/v2/a/b/referrers/sha256:x", "/oras/artifacts/v1/a/manifests/d/referrers", "/v2/../referrers/..", "/v2/a\n/referrers/\x00",
		"/v2/referrers/x", "/v2//referrers/x", "/v2/_oras/artifacts/referrers", "/v2/referrers/referrers/", "/oras/artifacts/v1/manifests/manifests/referrers",
	} {
		f.Add(path)
	}
	router := mux.NewRouter().SkipClean(true)
	routes := map[string]*mux.Route{}
	for _, template := range templates {
		expression := strings.NewReplacer("{name}", "{name:(?s:.*)}", "{reference}", "{reference:[^/]+}").Replace(template)
		routes[template] = router.Path(expression)
	}
	f.Fuzz(func(t *testing.T, path string) {
		request := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}}
		for template, route := range routes {
			var want, got mux.RouteMatch
			matches := route.Match(request, &want)
			if newPattern(template).match(request, &got) != matches || !maps.Equal(got.Vars, want.Vars) {
				t.Errorf("%q on %s: %q, want %v %q", path, template, got.Vars, matches, want.Vars)
			}
			if matches && expand(template, got.Vars) != path {
				t.Errorf("%q on %s: %q does not make it up again", path, template, got.Vars)
			}
		}
	})
}
