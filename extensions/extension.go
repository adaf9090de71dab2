// Package extensions says what an extension of the registry is: a small contract,
// small optional interfaces for what one may bring, and the words that they are
// written in. An extension never sees a storage driver and imports nothing of
// the project but this package; the registry never names an extension but in the
// list that main hands it. docs/extending.md shows one from end to end.
package extensions

import (
	"context"
	"net/http"

	"github.com/opencontainers/go-digest"
)

// Extension is one feature beside distribution. What it brings it says by the
// optional interfaces below.
type Extension interface {
	// Name is the extension's key below `extensions:` in the configuration. The key
	// `enabled` below that is the registry's: an extension that is not enabled brings
	// nothing but its manifest types.
	Name() string
}

// Configurer is implemented by extensions that have keys of their own.
type Configurer interface {
	// Configure reads the extension's section, which is empty where there is none. It
	// is called once, before everything else.
	Configure(section Section) error
}

// Checker is implemented by extensions that do not fit every registry.
type Checker interface {
	// Check says why the extension does not fit this one. It is called once, after
	// Configure, if the extension is enabled. After an error the registry does not start.
	Check(kind Kind) error
}

// Kind is what kind of registry the configuration makes.
type Kind struct {
	// ReadOnly says that nothing may be stored.
	ReadOnly bool
	// Cache says that it is a pull-through cache of another one (`proxy.remoteurl`).
	Cache bool
}

// Optional is implemented by extensions that are not to be enabled everywhere.
type Optional interface {
	// EnabledByDefault is the extension's key `enabled` where the configuration has none. It
	// is true for extensions that do not implement this.
	EnabledByDefault() bool
}

// ManifestTyper is implemented by extensions that bring manifest types. Manifests
// of these types are validated, stored, served, listed, collected and drawn like
// any others. While the extension is disabled, they can be pulled and are
// collected, but they can be neither pushed nor listed.
type ManifestTyper interface {
	ManifestTypes() []ManifestType
}

// Marker is implemented by extensions whose manifests need more than the
// references that their types name, for example what an annotation names.
type Marker interface {
	// Mark returns what else of its repository garbage collection has to keep as long
	// as it keeps this manifest. It is called for every manifest of every repository.
	// An error ends the collection before anything is removed.
	Mark(content []byte) ([]digest.Digest, error)
}

// Router is implemented by extensions that serve routes of their own.
type Router interface {
	Routes(services Services) []Route
}

// Wrapper is implemented by extensions that change what distribution's own
// routes answer.
type Wrapper interface {
	// Wrap is called once. The handler that it returns sees every request to
	// distribution's routes before it is authorized, so it must tell nothing that
	// next has not answered.
	Wrap(next http.Handler) http.Handler
}

// Summarizer is implemented by extensions for which `registry status` shows a line.
type Summarizer interface {
	// Summary is what the configuration has the extension do, without secrets. Empty
	// shows no line.
	Summary() string
}

// Closer is implemented by extensions that work in the background.
type Closer interface {
	// Close ends the work, and waits for it until ctx ends. It is called when the
	// registry shuts down.
	Close(ctx context.Context) error
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
