// Package push carries what a request says besides the manifest or blob to the storing of
// it, and what that learns to the handler that answers.
package push

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Push is what is pushed.
type Push struct {
	// Tags are tags that the manifest is to have, besides that in the path.
	Tags []string
	// Subject is that of the manifest which was stored, or empty.
	Subject digest.Digest
	// Tagged are those of Tags that were set, each once: all of them, unless the push
	// failed.
	Tagged []string
	// Status is that of a refusal for which distribution's table of errors has no code,
	// or 0.
	Status int
}

type key struct{}

// With returns a context in which the storing of a manifest reports to the
// Push that is returned with it.
func With(ctx context.Context) (context.Context, *Push) {
	push := new(Push)
	return context.WithValue(ctx, key{}, push), push
}

// From is the Push of the context. It is never nil: what is reported where
// nobody asked is lost.
func From(ctx context.Context) *Push {
	if push, ok := ctx.Value(key{}).(*Push); ok {
		return push
	}
	return new(Push)
}

type wholeKey struct{}

// Whole returns a context for the request that sends all of a blob, and whose client does
// not know the upload: nobody can continue it.
func Whole(ctx context.Context) context.Context { return context.WithValue(ctx, wholeKey{}, true) }

// IsWhole reports whether the context is such a one.
func IsWhole(ctx context.Context) bool { return ctx.Value(wholeKey{}) != nil }

type partialKey struct{}

// Partial returns a context in which the manifest with a digest is stored, by that digest,
// before all that it references is there. Tags in it follow where the manifest comes from,
// also immutable ones.
func Partial(ctx context.Context, d digest.Digest) context.Context {
	return context.WithValue(ctx, partialKey{}, d)
}

// PartialOf is the digest with which Partial was called, or empty.
func PartialOf(ctx context.Context) digest.Digest {
	d, _ := ctx.Value(partialKey{}).(digest.Digest)
	return d
}
