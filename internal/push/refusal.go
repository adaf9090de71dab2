package push

import (
	"context"
	"sync/atomic"
)

// Refusal is why a request is refused, for requests whose handler in distribution would
// answer with 500.
type Refusal struct{ err atomic.Pointer[error] }

// Err is an error of distribution's table, nil if the request is not refused.
func (r *Refusal) Err() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

type refusalKey struct{}

// Refusable returns a context in which a request can be refused.
func Refusable(ctx context.Context, refusal *Refusal) context.Context {
	return context.WithValue(ctx, refusalKey{}, refusal)
}

// Refuse refuses the request of the context with an error, and returns the error.
func Refuse(ctx context.Context, err error) error {
	if refusal, ok := ctx.Value(refusalKey{}).(*Refusal); ok {
		refusal.err.Store(&err)
	}
	return err
}

type refusedKey struct{}

// WithRefused returns a context whose request is refused with an error before any handler
// sees it, once it is authorized.
func WithRefused(ctx context.Context, err error) context.Context {
	return context.WithValue(ctx, refusedKey{}, err)
}

// Refused is why the request of the context is refused before any handler sees it, or nil.
func Refused(ctx context.Context) error {
	err, _ := ctx.Value(refusedKey{}).(error)
	return err
}
