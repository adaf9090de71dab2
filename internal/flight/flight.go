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
//
// One of the callers does the work, so that a caller who is alone starts no goroutine
// and waits for none.
type Group[K comparable, V any] struct {
	Detached bool           // the work goes on when nobody waits for it any more, in a goroutine of its own
	Work     sync.WaitGroup // of what is detached

	mu      sync.Mutex
	running map[K]struct{}   // has begun: nobody may join any more
	waiting map[K]*flight[V] // begins when the running one ends
}

// flight is work that several may wait for.
type flight[V any] struct {
	turn    chan struct{} // the caller who receives from it does the work
	done    chan struct{}
	value   V
	err     error
	waiters int
	ctx     context.Context
	cancel  context.CancelFunc
	run     func(context.Context) (V, error)
}

// Do returns what run returns. The context that run gets is ctx where the caller is
// alone. Otherwise it ends when base does or, unless the work is detached, when nobody
// waits for the result any more.
func (g *Group[K, V]) Do(ctx, base context.Context, key K, run func(context.Context) (V, error)) (V, error) {
	f := g.join(base, key, run)
	if f == nil {
		defer g.end(key)
		value, err := guarded(ctx, run)
		return value, cancelled(ctx, err)
	}
	select {
	case <-f.turn:
		stop := context.AfterFunc(ctx, func() { g.leave(key, f) })
		defer stop()
		g.work(key, f)
		return f.value, cancelled(ctx, f.err)
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		g.leave(key, f)
		var none V
		return none, ctx.Err()
	}
}

// join returns the flight to wait for, nil if the caller is to do the work alone.
func (g *Group[K, V]) join(base context.Context, key K, run func(context.Context) (V, error)) *flight[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		g.running, g.waiting = map[K]struct{}{}, map[K]*flight[V]{}
	}
	_, busy := g.running[key]
	if !busy && !g.Detached {
		g.running[key] = struct{}{}
		return nil
	}
	f := g.waiting[key]
	if f == nil {
		f = &flight[V]{turn: make(chan struct{}, 1), done: make(chan struct{}), run: run}
		f.ctx, f.cancel = context.WithCancel(base)
		if g.Detached {
			f.waiters++ // which never leaves
		}
		if busy {
			g.waiting[key] = f
		} else {
			g.begin(key, f)
		}
	}
	f.waiters++
	return f
}

func (g *Group[K, V]) leave(key K, f *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return
	}
	f.cancel()
	if g.waiting[key] == f {
		delete(g.waiting, key)
	}
	select {
	case <-f.turn: // it has begun, but nobody is left to do the work
		g.next(key)
	default:
	}
}

// begin starts a flight; the caller holds the lock.
func (g *Group[K, V]) begin(key K, f *flight[V]) {
	g.running[key] = struct{}{}
	if g.Detached {
		g.Work.Go(func() { g.work(key, f) })
		return
	}
	f.turn <- struct{}{}
}

func (g *Group[K, V]) work(key K, f *flight[V]) {
	f.value, f.err = guarded(f.ctx, f.run)
	f.cancel()
	close(f.done)
	g.end(key)
}

func (g *Group[K, V]) end(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next(key)
}

// next ends the flight that runs, and begins the one that waits; the caller holds the
// lock.
func (g *Group[K, V]) next(key K) {
	delete(g.running, key)
	if f := g.waiting[key]; f != nil {
		delete(g.waiting, key)
		g.begin(key, f)
	}
}

// cancelled says why the work failed if its caller has gone: storage drivers do not.
func cancelled(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
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
