package extensions

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Push is what the storing of a manifest tells the handler that answers the
// request.
type Push struct {
	// Subject is that of the manifest which was stored, or empty.
	Subject digest.Digest
}

type pushKey struct{}

// WithPush returns a context in which the storing of a manifest reports to the
// Push that is returned with it.
func WithPush(ctx context.Context) (context.Context, *Push) {
	push := new(Push)
	return context.WithValue(ctx, pushKey{}, push), push
}

// PushFrom is the Push of the context. It is never nil: what is reported where
// nobody asked is lost.
func PushFrom(ctx context.Context) *Push {
	if push, ok := ctx.Value(pushKey{}).(*Push); ok {
		return push
	}
	return new(Push)
}
