package extensions

import (
	"context"
	"time"

	"github.com/oras-distribution/registry/internal/listing"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/push"
	"github.com/oras-distribution/registry/internal/referrers"
)

// ManifestType is one type of manifests: what its documents look like, and what
// is asked of those that are pushed.
type ManifestType = manifest.Type

// The annotations that say when a manifest was made, as RFC 3339.
const (
	AnnotationORASCreated = manifest.AnnotationORASCreated
	AnnotationOCICreated  = manifest.AnnotationOCICreated
)

// Lister answers who refers to a subject.
type Lister = listing.Lister

// Referrer is what a listing says of one manifest.
type Referrer = referrers.Referrer

// ReferrerSet is what a Lister answers. In a test of an extension, a Lister of its own
// may answer one that has nothing but Referrers.
type ReferrerSet = referrers.Set

// Listing is how an API shows the referrers of a subject: its Serve answers a
// request with filters, pages, links to the next page and entity tags.
type Listing = listing.View

// Position is a place in the order of a Listing.
type Position = listing.Position

// OldestFirst is the position of a time in a listing that begins with the oldest.
func OldestFirst(t time.Time) Position { return listing.OldestFirst(t) }

// NewestFirst is the position of a time in a listing that begins with the newest.
func NewestFirst(t time.Time) Position { return listing.NewestFirst(t) }

// Undated is the position behind all times.
func Undated() Position { return listing.Undated() }

// StatusError is an error of a Route with a status for which distribution's table
// of errors has no code.
type StatusError = listing.StatusError

// Push is what the storing of a manifest tells the handler that answers the
// request.
type Push = push.Push

// WithPush returns a context in which the storing of a manifest reports to the
// Push that is returned with it. A Wrapper uses it.
func WithPush(ctx context.Context) (context.Context, *Push) { return push.With(ctx) }
