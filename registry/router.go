package registry

import (
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/health"
	"github.com/distribution/distribution/v3/metrics"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/reference"
	prometheus "github.com/docker/go-metrics"
	gorhandlers "github.com/gorilla/handlers"

	"github.com/oras-distribution/registry/extensions"
)

// router serves the routes of the extensions and hands everything else to next.
// Around its routes it puts what distribution puts around its own.
type router struct {
	instance   *instance
	controller auth.AccessController // nil: everything is allowed
	routes     []compiledRoute
	next       http.Handler
}

type compiledRoute struct {
	extensions.Route
	path    template
	forward template
	handler http.Handler // Serve with everything around it
	metrics func(http.Handler) http.Handler
}

// handler is the handler of a registry whose own handler is next.
func (i *instance) handler(next http.Handler) http.Handler {
	for _, e := range i.extensions {
		if wrapper, ok := e.(extensions.Wrapper); ok {
			next = wrapper.Wrap(next)
		}
	}
	rt := &router{instance: i, next: recovering(guarded(next))}
	if i.isProxy() {
		return rt.next
	}
	rt.controller = i.accessController()
	services := extensions.Services{Referrers: i.index, Descriptions: i.descriptions()}
	for _, e := range i.extensions {
		if r, ok := e.(extensions.Router); ok {
			for _, route := range r.Routes(services) {
				rt.add(route)
			}
		}
	}
	return rt
}

func (i *instance) descriptions() []extensions.Description {
	list := []extensions.Description{}
	for _, e := range i.extensions {
		if d, ok := e.(extensions.Describer); ok {
			list = append(list, d.Descriptions()...)
		}
	}
	return list
}

// accessController makes a controller like the one that distribution has made
// of the same configuration by now.
func (i *instance) accessController() auth.AccessController {
	kind := i.config.Auth.Type()
	if kind == "" || strings.EqualFold(kind, "none") {
		return nil
	}
	controller, err := auth.GetAccessController(kind, i.config.Auth.Parameters())
	if err != nil {
		panic("unable to configure authorization (" + kind + "): " + err.Error()) // caught by serve
	}
	return controller
}

func (rt *router) add(route extensions.Route) {
	prefix := strings.TrimRight(rt.instance.config.HTTP.Prefix, "/")
	c := compiledRoute{Route: route, path: newTemplate(prefix + route.Path), forward: newTemplate(prefix + route.Forward)}
	c.metrics = func(h http.Handler) http.Handler { return h }
	if rt.instance.config.HTTP.Debug.Prometheus.Enabled {
		ns := prometheus.NewNamespace(metrics.NamespacePrefix, "http", nil)
		httpMetrics := ns.NewDefaultHttpMetrics(route.Name)
		prometheus.Register(ns)
		c.metrics = func(h http.Handler) http.Handler { return prometheus.InstrumentHandler(httpMetrics, h) }
	}
	h := c.metrics(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { rt.serve(w, r, route, c.path) }))
	h = recovering(health.Handler(apiVersion(h)))
	if !rt.instance.config.Log.AccessLog.Disabled {
		h = gorhandlers.CombinedLoggingHandler(os.Stdout, h)
	}
	c.handler = h
	rt.routes = append(rt.routes, c)
}

// ServeHTTP implements http.Handler.
func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, route := range rt.routes {
		name, ref, ok := route.path.match(r.URL.Path)
		if !ok {
			continue
		}
		if _, err := reference.WithName(name); route.Forward == "" || !isRead(r.Method) || err != nil {
			route.handler.ServeHTTP(w, r) // which refuses what cannot be forwarded
			return
		}
		forwarded := r.Clone(r.Context())
		forwarded.URL.Path, forwarded.URL.RawPath = route.forward.expand(name, ref), ""
		route.metrics(rt.next).ServeHTTP(w, forwarded)
		return
	}
	rt.next.ServeHTTP(w, r)
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// serve answers a request for a route: first whether the client may, then what
// it asked for. Errors are written here and nowhere else.
func (rt *router) serve(w http.ResponseWriter, r *http.Request, route extensions.Route, path template) {
	for name, values := range rt.instance.config.HTTP.Headers {
		for _, value := range values {
			w.Header().Add(name, value)
		}
	}
	name, ref, _ := path.match(r.URL.Path)
	target := extensions.Target{Reference: ref}
	if path.named {
		var err error
		if target.Repository, err = reference.WithName(name); err != nil {
			writeError(w, r, errcode.ErrorCodeNameInvalid.WithDetail(distribution.ErrRepositoryNameInvalid{Name: name, Reason: err}))
			return
		}
	}
	if !rt.authorized(w, r, target) {
		return
	}
	if !isRead(r.Method) {
		w.Header().Set("Allow", "GET, HEAD")
		writeError(w, r, errcode.ErrorCodeUnsupported.WithDetail(map[string]string{"method": r.Method}))
		return
	}
	if err := route.Serve(w, r, target); err != nil {
		writeError(w, r, err)
	}
}

// authorized asks for the right to pull from the repository, or for no more than
// credentials where the route names none, and writes the refusal.
func (rt *router) authorized(w http.ResponseWriter, r *http.Request, target extensions.Target) bool {
	if rt.controller == nil {
		return true
	}
	var access []auth.Access
	if target.Repository != nil {
		access = append(access, auth.Access{
			Resource: auth.Resource{Type: "repository", Name: target.Repository.Name()},
			Action:   "pull",
		})
	}
	grant, err := rt.controller.Authorized(r, access...)
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

func apiVersion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
		next.ServeHTTP(w, r)
	})
}
