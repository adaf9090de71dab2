// Package flight lets callers who ask for the same thing at the same time share
// the work.
package flight

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Group lets callers who ask for the same thing at the same time share the
// work. A caller only ever shares work that began after it asked: what was
// durable before the question is in the answer.
type Group[K comparable, V any] struct {
	Detached bool           // the work goes on when nobody waits for it any more
	Work     sync.WaitGroup // of what has begun

	mu      sync.Mutex
	running map[K]*flight[V] // has begun: nobody may join any more
	waiting map[K]*flight[V] // begins when the running one ends
}

type flight[V any] struct {
	done    chan struct{}
	value   V
	err     error
	waiters int
	ctx     context.Context
	cancel  context.CancelFunc
	run     func(context.Context) (V, error)
}

// Do returns what run returns. The context that run gets ends when base does or,
// unless the work is detached, when nobody waits for the result any more.
func (g *Group[K, V]) Do(ctx, base context.Context, key K, run func(context.Context) (V, error)) (V, error) {
	f := g.join(base, key, run)
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		g.leave(key, f)
		var none V
		return none, ctx.Err()
	}
}

func (g *Group[K, V]) join(base context.Context, key K, run func(context.Context) (V, error)) *flight[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		g.running, g.waiting = map[K]*flight[V]{}, map[K]*flight[V]{}
	}
	f := g.waiting[key]
	if f == nil {
		f = &flight[V]{done: make(chan struct{}), run: run}
		f.ctx, f.cancel = context.WithCancel(base)
		if g.Detached {
			f.waiters++ // which never leaves
		}
		if g.running[key] == nil {
			g.begin(key, f)
		} else {
			g.waiting[key] = f
		}
	}
	f.waiters++
	return f
}

func (g *Group[K, V]) leave(key K, f *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		if g.waiting[key] == f {
			delete(g.waiting, key)
		}
	}
}

// begin starts a flight; the caller holds the lock.
func (g *Group[K, V]) begin(key K, f *flight[V]) {
	g.running[key] = f
	g.Work.Add(1)
	go func() {
		defer g.Work.Done()
		f.value, f.err = guarded(f.ctx, f.run)
		f.cancel()
		close(f.done)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.running, key)
		if next := g.waiting[key]; next != nil {
			delete(g.waiting, key)
			g.begin(key, next)
		}
	}()
}

// guarded turns a panic into an error, for no request must end the process.
func guarded[V any](ctx context.Context, run func(context.Context) (V, error)) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return run(ctx)
}
