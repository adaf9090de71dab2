// Package router serves the routes of the extensions. Around them it puts what
// distribution puts around its own.
package router

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/health"
	"github.com/distribution/distribution/v3/metrics"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/reference"
	prometheus "github.com/docker/go-metrics"
	gorhandlers "github.com/gorilla/handlers"
	"github.com/gorilla/mux"

	"github.com/oras-distribution/registry/extensions"
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

// New makes a handler for routes, which hands everything else to next.
func New(next http.Handler, routes []extensions.Route, options Options) http.Handler {
	options.Prefix = strings.TrimRight(options.Prefix, "/")
	// Names are matched whatever they are, so that a bad one is a bad name and not an
	// unknown path; paths are taken as they are.
	r := mux.NewRouter().SkipClean(true)
	r.NotFoundHandler = next
	var order []string
	paths := map[string]*path{}
	for _, route := range routes {
		p := paths[route.Path]
		if p == nil {
			p = &path{options: options, next: next, named: strings.Contains(route.Path, "{name}")}
			paths[route.Path] = p
			order = append(order, route.Path)
		}
		p.add(route)
	}
	for _, template := range order {
		r.Path(options.Prefix + pattern(template)).Handler(paths[template])
	}
	return r
}

// pattern is a template in the language of gorilla/mux.
func pattern(template string) string {
	return strings.NewReplacer("{name}", "{name:(?s:.*)}", "{reference}", "{reference:[^/]+}").Replace(template)
}

// path is all routes that share one.
type path struct {
	options Options
	next    http.Handler
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

func (p *path) add(added extensions.Route) {
	if len(added.Methods) == 0 {
		added.Methods = []string{http.MethodGet, http.MethodHead}
	}
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
	h = Recovering(health.Handler(apiVersion(h)))
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
		if _, err := reference.WithName(vars["name"]); route.Forward != "" && err == nil {
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

func expand(template string, vars map[string]string) string {
	return strings.NewReplacer("{name}", vars["name"], "{reference}", vars["reference"]).Replace(template)
}

// serve answers a request for a route: first whether the client may, then what
// it asked for. Errors are written here and nowhere else.
func (p *path) serve(w http.ResponseWriter, r *http.Request, route route) {
	for name, values := range p.options.Headers {
		for _, value := range values {
			w.Header().Add(name, value)
		}
	}
	vars := mux.Vars(r)
	target := extensions.Target{Reference: vars["reference"]}
	if p.named {
		var err error
		if target.Repository, err = reference.WithName(vars["name"]); err != nil {
			writeError(w, r, errcode.ErrorCodeNameInvalid.WithDetail(distribution.ErrRepositoryNameInvalid{Name: vars["name"], Reason: err}))
			return
		}
	}
	if !p.authorized(w, r, target, route.Access) {
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

func (p *path) methods() (all []string) {
	for _, route := range p.routes {
		all = append(all, route.Methods...)
	}
	return all
}

// authorized asks whether the client has the access that a route needs, and
// writes the refusal.
func (p *path) authorized(w http.ResponseWriter, r *http.Request, target extensions.Target, needed extensions.Access) bool {
	if p.options.Controller == nil {
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
	writeError(w, r, errcode.ErrorCodeUnauthorized.WithDetail(access))
	return false
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
