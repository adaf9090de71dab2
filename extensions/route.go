package extensions

import (
	"net/http"

	"github.com/distribution/reference"
)

// Route is a route of an extension. The registry gives it what distribution
// gives its own: http.prefix, access log, panic recovery, health gating,
// http.headers, metrics, authorization, and the refusal of other methods.
type Route struct {
	// Name stands in the names of the route's metrics: lower case, with underscores. No
	// other route has it.
	Name string
	// Path is a template: literal text with {name} for the repository and, after
	// it, at most one {reference}, which is a single segment.
	Path string
	// Methods are those that the route answers; none are GET and HEAD. Several routes
	// may share a path if they differ in their methods.
	Methods []string
	// Access is what the client must be allowed to do.
	Access Access
	// Serve answers, unless Forward is set. An error that it returns is written by the caller, so it must
	// not have written anything then. It is one of distribution's errcode or a
	// StatusError; any other is answered with 500.
	Serve func(w http.ResponseWriter, r *http.Request, target Target) error
	// Forward is the template of the route of distribution's that answers instead of
	// Serve, with all that it does itself. The path then has a {name}.
	Forward string
}

// Access is what a client must be allowed to do, in the words of distribution's
// auth backends.
type Access string

// The kinds of access. Those to pull, push and delete are to the repository in the
// path; a route without one asks for no more than credentials.
const (
	AccessPull    Access = "" // the default
	AccessPush    Access = "push"
	AccessDelete  Access = "delete"
	AccessCatalog Access = "catalog"
	AccessAnyone  Access = "anyone" // no credentials: for what tells nothing about the content
)

// Target is what a request path names.
type Target struct {
	// Repository is valid, or nil for a route that names none.
	Repository reference.Named
	// Reference is the text for {reference}, as it stands in the path.
	Reference string
}
