// Package extensions says what an extension of the registry is: a small
// contract, and small optional interfaces for what one may bring. An extension
// never sees a storage driver and never imports the registry package; the
// registry never names an extension but in the list that main hands it.
package extensions

import (
	"context"
	"net/http"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/referrers"
)

// Extension is one feature beside distribution. What it brings it says by the
// optional interfaces below: ManifestTyper, Router, Wrapper, Describer.
type Extension interface {
	// Name is the extension's key below `extensions:` in the configuration.
	Name() string
	// Configure reads the extension's section, which is empty where there is none.
	// The key `enabled` has been read by the registry. Of an extension that is not
	// enabled it uses the manifest types only. A key that nobody asks for is refused.
	Configure(section *Section) error
}

// ManifestTyper is implemented by extensions that bring manifest types. While the
// extension is disabled, manifests of these types can be pulled and are collected
// like any others, but they can be neither pushed nor listed.
type ManifestTyper interface {
	ManifestTypes() []manifest.Artifact
}

// Router is implemented by extensions that serve routes of their own.
type Router interface {
	Routes(services Services) []Route
}

// Wrapper is implemented by extensions that change what distribution's own
// routes answer. Wrap is called once; the handler it returns sees all requests.
type Wrapper interface {
	Wrap(next http.Handler) http.Handler
}

// Describer is implemented by extensions that the OCI extension discovery lists.
type Describer interface {
	Descriptions() []Description
}

// Description is one entry of the OCI extension discovery.
type Description struct {
	Name        string   `json:"name"`
	URL         string   `json:"url,omitempty"`
	Description string   `json:"description,omitempty"`
	Endpoints   []string `json:"endpoints"`
}

// Services is what the registry lends to routes.
type Services struct {
	// Referrers answers who refers to a subject.
	Referrers Lister
	// Descriptions are those of all extensions.
	Descriptions []Description
}

// Lister answers who refers to a subject. See referrers.Index.Referrers.
type Lister interface {
	Referrers(ctx context.Context, repository string, subject digest.Digest) (*referrers.Set, error)
}

// Route is a route of an extension. The registry gives it what distribution
// gives its own: http.prefix, access log, panic recovery, health gating,
// http.headers, metrics, authorization, HEAD and the refusal of other methods.
type Route struct {
	// Name is that of the route's metrics, in lower case with underscores.
	Name string
	// Path is a template: literal text with {name} for the repository and, after
	// it, at most one {reference}, which is a single segment.
	Path string
	// Serve answers GET and HEAD. An error that it returns is written by the
	// caller, so it must not have written anything then. It is one of distribution's
	// errcode or a StatusError; any other is answered with 500.
	Serve func(w http.ResponseWriter, r *http.Request, target Target) error
	// Forward, where Serve is nil, is the template of the route of distribution's
	// that answers instead, with all that it does itself.
	Forward string
}

// Target is what a request path names.
type Target struct {
	// Repository is valid, or nil for a route that names none.
	Repository reference.Named
	// Reference is the text for {reference}, as it stands in the path.
	Reference string
}
