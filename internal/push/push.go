// Package push carries what the storing of a manifest learns to the handler that
// answers the request.
package push

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Push is what was pushed.
type Push struct {
	// Subject is that of the manifest which was stored, or empty.
	Subject digest.Digest
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
