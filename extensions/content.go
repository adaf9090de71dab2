package extensions

import (
	"context"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/push"
)

// ErrDamaged is the error for a manifest whose stored bytes do not have its digest, where they
// cannot be read as a manifest. Bytes that can are returned unchecked.
var ErrDamaged = layout.ErrCorrupt

// Content is what the registry has, as its clients see it.
type Content struct {
	// Namespace is distribution's interface to repositories, their manifests, blobs and
	// tags. What is pushed through it is checked, linked and collected like the pushes of
	// clients; nothing asks who may.
	Namespace distribution.Namespace
	// Referrers answers who refers to a subject.
	Referrers Lister
}

// Services is what the registry lends to extensions.
type Services struct {
	Content
	// Descriptions are what all extensions say of themselves.
	Descriptions []Description
	// Prefix is http.prefix without a slash at its end: what stands before all paths.
	Prefix string
	// Origin is the registry that this one is a pull-through cache of, nil unless the
	// configuration has `proxy.remoteurl`, and no `proxy.exec`. Clients get manifests, blobs
	// and tags through distribution then, whatever a Decorator makes of the namespace. Routes
	// are served only if a Decorator has replaced Referrers: the index knows no more than what
	// clients pulled.
	Origin *Origin
	// Unlisted reports whether no listing has manifests of a media type, because the
	// extension that brings it is disabled.
	Unlisted func(mediaType string) bool
	// Metrics says that metrics are served: an extension registers its own if they are.
	Metrics bool
	// Allowed reports whether the client that has sent a request may pull from all of
	// these repositories. Asking once for many may cost much less than asking for each.
	Allowed func(r *http.Request, repositories ...string) bool
	// Tagged is when a tag was pushed last, as the storage knows it.
	Tagged func(ctx context.Context, repository, tag string) (time.Time, error)
	// Token is the server that issues the tokens of clients, nil unless the configuration
	// has `auth.token`.
	Token *TokenServer
	// Key derives a key of 32 bytes for a purpose of the extension from `http.secret`: the
	// same in all replicas that share one.
	Key func(purpose string) ([]byte, error)
	// Work begins work on the content that is not a request's. The work has to use the
	// context that is returned, and what it has stored can be relied on, whatever garbage
	// collections run meanwhile, once end has returned no error.
	Work func(ctx context.Context) (work context.Context, end func() error)
	// Records keeps what an extension has found out.
	Records Records
}

// TokenServer is the server that issues tokens, as the configuration names it.
type TokenServer struct{ Realm, Service string }

// Origin is the registry that a pull-through cache is of: its URL, which has a scheme and a
// host, and the account there, empty for none.
type Origin struct{ URL, Username, Password string }

// Records keeps what an extension has found out about the content of a repository, shared
// by all replicas. A record is lost with its repository.
type Records interface {
	// Newest is the newest record for a key: a path of letters, digits and the signs
	// "-", "_" and ".", with slashes between its parts. There is none if at is zero.
	Newest(ctx context.Context, repository, key string) (content []byte, at time.Time, err error)
	// Add adds a record, which replaces older ones and leaves newer ones alone.
	Add(ctx context.Context, repository, key string, content []byte, at time.Time) error
	// Remove removes all records for a key.
	Remove(ctx context.Context, repository, key string) error
}

// Decorator is implemented by extensions that change what the registry has in the eyes of
// its clients, for example by getting it from elsewhere when it is asked for.
type Decorator interface {
	// Decorate is called once, before Routes. The services have the content as the
	// extensions before this one have decorated it. What clients ask for is authorized
	// before they reach the content that is returned. After an error the registry does
	// not start.
	Decorate(services Services) (Content, error)
}

// Rewriter is implemented by extensions that change what a request asks for.
type Rewriter interface {
	// Rewrite is called once, after Routes. The handler that it returns sees every
	// request before it is routed and authorized, so it must tell nothing that next has
	// not answered.
	Rewrite(next http.Handler) http.Handler
}

// Refuse returns a context whose request is answered with an error of distribution's errcode
// table, like every other request, as soon as it is known that the client may ask.
func Refuse(ctx context.Context, err error) context.Context { return push.WithRefused(ctx, err) }

// Partial returns a context in which the manifest with a digest is stored, by that digest,
// before all that it references is there. Tags in it can be moved and removed although they
// are immutable for clients: they follow where the manifest comes from.
func Partial(ctx context.Context, d digest.Digest) context.Context { return push.Partial(ctx, d) }
