// Package router serves the routes of the extensions. Around them it puts what
// distribution puts around its own.
package router

import (
	"errors"
	"hash/maphash"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/health"
	"github.com/distribution/distribution/v3/metrics"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/auth"
	prometheus "github.com/docker/go-metrics"
	gorhandlers "github.com/gorilla/handlers"
	"github.com/gorilla/mux"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/push"
)

// Options say what the configuration says about all routes.
type Options struct {
	// Prefix is http.prefix.
	Prefix string
	// Headers are set on every answer.
	Headers http.Header
	// AccessLog writes a line for every request.
	AccessLog bool
	// Metrics counts and times requests for each route.
	Metrics bool
	// Controller says who may do what; nil allows everything.
	Controller auth.AccessController
}

// New makes a handler for routes, which hands everything else to next. It fails if
// a route does not keep to what extensions.Route says.
func New(next http.Handler, routes []extensions.Route, options Options) (http.Handler, error) {
	if err := check(routes); err != nil {
		return nil, err
	}
	options.Prefix = strings.TrimRight(options.Prefix, "/")
	// Names are matched whatever they are, so that a bad one is a bad name and not an
	// unknown path; paths are taken as they are.
	r := mux.NewRouter().SkipClean(true)
	var order []string
	known := &names{seed: maphash.MakeSeed()}
	paths := map[string]*path{}
	for _, route := range routes {
		p := paths[route.Path]
		if p == nil {
			p = &path{options: options, next: next, names: known, named: strings.Contains(route.Path, placeName)}
			paths[route.Path] = p
			order = append(order, route.Path)
		}
		p.add(route)
	}
	var patterns []pattern
	for _, template := range order {
		p := newPattern(options.Prefix + template)
		r.MatcherFunc(p.match).Handler(paths[template])
		patterns = append(patterns, p)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for _, p := range patterns {
			if _, _, ok := p.find(req.URL.Path); ok {
				r.ServeHTTP(w, req)
				return
			}
		}
		next.ServeHTTP(w, req) // from mux, it would get a copy of a copy of the request
	}), nil
}

// path is all routes that share one.
type path struct {
	options Options
	next    http.Handler
	names   *names
	named   bool
	routes  []route
	other   http.Handler // for methods that no route takes
}

type route struct {
	extensions.Route
	handler http.Handler
	metrics func(http.Handler) http.Handler
}

func (r route) takes(method string) bool { return slices.Contains(r.Methods, method) }

// methodsOf is the methods that a route answers.
func methodsOf(route extensions.Route) []string {
	if len(route.Methods) == 0 {
		return []string{http.MethodGet, http.MethodHead}
	}
	return route.Methods
}

func (p *path) add(added extensions.Route) {
	added.Methods = methodsOf(added)
	r := route{Route: added, metrics: p.measure(added.Name)}
	r.handler = p.surround(r.metrics(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { p.serve(w, req, r) })))
	p.routes = append(p.routes, r)
	p.other = p.routes[0].handler
}

// measure counts requests under the name of a route.
func (p *path) measure(name string) func(http.Handler) http.Handler {
	if !p.options.Metrics {
		return func(h http.Handler) http.Handler { return h }
	}
	ns := prometheus.NewNamespace(metrics.NamespacePrefix, "http", nil)
	httpMetrics := ns.NewDefaultHttpMetrics(name)
	prometheus.Register(ns)
	return func(h http.Handler) http.Handler { return prometheus.InstrumentHandler(httpMetrics, h) }
}

// surround puts around a handler what distribution puts around its own.
func (p *path) surround(h http.Handler) http.Handler {
	h = identified(Recovering(health.Handler(apiVersion(h))))
	if p.options.AccessLog {
		h = gorhandlers.CombinedLoggingHandler(os.Stdout, h)
	}
	return h
}

// ServeHTTP implements http.Handler.
func (p *path) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, route := range p.routes {
		if !route.takes(r.Method) {
			continue
		}
		vars := mux.Vars(r)
		if _, err := p.names.parse(vars["name"]); route.Forward != "" && err == nil {
			forwarded := r.Clone(r.Context())
			forwarded.URL.Path, forwarded.URL.RawPath = p.options.Prefix+expand(route.Forward, vars), ""
			route.metrics(p.next).ServeHTTP(w, forwarded)
			return
		}
		route.handler.ServeHTTP(w, r)
		return
	}
	p.other.ServeHTTP(w, r)
}

// serve answers a request for a route: first whether the client may, then what
// it asked for. Errors are written here and nowhere else.
func (p *path) serve(w http.ResponseWriter, r *http.Request, route route) {
	p.setHeaders(w)
	vars := mux.Vars(r)
	target := extensions.Target{Reference: vars["reference"]}
	if p.named {
		var err error
		if target.Repository, err = p.names.parse(vars["name"]); err != nil {
			writeError(w, r, err)
			return
		}
	}
	if !p.authorized(w, r, target, route.Access) {
		return
	}
	if err := push.Refused(r.Context()); err != nil {
		writeError(w, r, err)
		return
	}
	if !route.takes(r.Method) {
		w.Header().Set("Allow", strings.Join(p.methods(), ", "))
		writeError(w, r, errcode.ErrorCodeUnsupported.WithDetail(map[string]string{"method": r.Method}))
		return
	}
	if err := route.Serve(w, r, target); err != nil {
		writeError(w, r, err)
	}
}

// setHeaders sets those of the configuration.
func (p *path) setHeaders(w http.ResponseWriter) {
	for name, values := range p.options.Headers {
		for _, value := range values {
			w.Header().Add(name, value)
		}
	}
}

func (p *path) methods() (all []string) {
	for _, route := range p.routes {
		all = append(all, route.Methods...)
	}
	return all
}

// authorized asks whether the client has the access that a route needs, and
// writes the refusal.
func (p *path) authorized(w http.ResponseWriter, r *http.Request, target extensions.Target, needed extensions.Access) bool {
	if p.options.Controller == nil || needed == extensions.AccessAnyone {
		return true
	}
	access := accessTo(target, needed)
	grant, err := p.options.Controller.Authorized(r, access...)
	if err == nil && grant != nil {
		return true
	}
	var challenge auth.Challenge
	if !errors.As(err, &challenge) {
		// As in distribution: nothing is said about what is wrong with the controller.
		logError(r, err)
		w.WriteHeader(http.StatusBadRequest)
		return false
	}
	challenge.SetHeaders(r, w)
	logRefusal(r, serveError(w, r, errcode.ErrorCodeUnauthorized.WithDetail(access), 0), err)
	return false
}

// Allowed returns what reports whether the client that has sent a request may pull from
// all of some repositories. A nil controller allows everything.
func Allowed(controller auth.AccessController) func(r *http.Request, repositories ...string) bool {
	return func(r *http.Request, repositories ...string) bool {
		var access []auth.Access
		for _, repository := range repositories {
			name, err := parseName(repository)
			if err != nil {
				return false
			}
			access = append(access, accessTo(extensions.Target{Repository: name}, extensions.AccessPull)...)
		}
		if controller == nil {
			return true
		}
		grant, err := controller.Authorized(r, access...)
		return err == nil && grant != nil
	}
}

// accessTo is the access that is asked for, in the form of distribution's auth
// backends. Who may push must be allowed to pull, as there.
func accessTo(target extensions.Target, needed extensions.Access) (access []auth.Access) {
	if needed == extensions.AccessCatalog {
		return []auth.Access{{Resource: auth.Resource{Type: "registry", Name: "catalog"}, Action: "*"}}
	}
	if target.Repository == nil {
		return nil
	}
	resource := auth.Resource{Type: "repository", Name: target.Repository.Name()}
	switch needed {
	case extensions.AccessDelete:
		return []auth.Access{{Resource: resource, Action: "delete"}}
	case extensions.AccessPush:
		return []auth.Access{{Resource: resource, Action: "pull"}, {Resource: resource, Action: "push"}}
	}
	return []auth.Access{{Resource: resource, Action: "pull"}}
}

func apiVersion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
		next.ServeHTTP(w, r)
	})
}
