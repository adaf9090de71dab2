// Package browse is the extension that shows people what the registry has: pages
// with repositories, tags, images and what is attached to them. See README.md in this
// folder.
package browse

import (
	"net/http"

	"github.com/oras-distribution/registry/extensions"
)

// Extension implements extensions.Extension.
type Extension struct {
	site *site // since Routes
}

// New makes the extension.
func New() *Extension { return new(Extension) }

// Name implements extensions.Extension.
func (*Extension) Name() string { return "browse" }

// EnabledByDefault implements extensions.Optional: whether people shall see pages is for
// those to say who run the registry.
func (*Extension) EnabledByDefault() bool { return false }

// root is the path of the first page, and what the paths of all others begin with.
const root = "/ui/"

// Routes implements extensions.Router.
func (e *Extension) Routes(services extensions.Services) []extensions.Route {
	if services.Origin != nil { // a cache knows nothing of what nobody has pulled
		return nil
	}
	s := newSite(services)
	e.site = s
	routes := []extensions.Route{
		{Name: "ui_repositories", Path: root, Serve: s.page(showRepositories)},
		{Name: "ui_tags", Path: root + "tags/{name}", Serve: s.page(showTags)},
		{Name: "ui_image", Path: root + "image/{name}/{reference}", Serve: s.page(showImage)},
		{Name: "ui_manifest", Path: root + "manifest/{name}/{reference}", Serve: s.page(showManifest)},
		{Name: "ui_raw", Path: root + "raw/{name}/{reference}", Serve: s.serveManifest},
		{Name: "ui_file", Path: root + "file/{name}/{reference}", Serve: s.serveFile},
		{Name: "ui_style", Path: root + "style.css", Access: extensions.AccessAnyone, Serve: serveAsset("style.css", "text/css; charset=utf-8")},
		{Name: "ui_icon", Path: root + "icon.svg", Access: extensions.AccessAnyone, Serve: serveAsset("icon.svg", "image/svg+xml")},
	}
	if s.Token != nil {
		routes = append(routes, s.signInRoutes()...)
	}
	return routes
}

// Rewrite implements extensions.Rewriter.
func (e *Extension) Rewrite(next http.Handler) http.Handler {
	if e.site == nil {
		return next
	}
	return e.site.surround(next)
}
