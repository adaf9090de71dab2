package flight

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A caller never shares work that began before it asked, and all who ask while
// that runs share the next.
func TestFlightsShare(t *testing.T) {
	t.Parallel()
	var g Group[string, int]
	var began atomic.Int64
	first := make(chan struct{})
	running := make(chan struct{})
	run := func(context.Context) (int, error) {
		n := int(began.Add(1))
		if n == 1 {
			close(running)
			<-first
		}
		return n, nil
	}
	var done sync.WaitGroup
	ask := func(want int) {
		done.Go(func() {
			if got, err := g.Do(t.Context(), t.Context(), "key", run); got != want || err != nil {
				t.Errorf("got the result of run %d, %v; expected that of run %d", got, err, want)
			}
		})
	}
	ask(1)
	<-running
	const later = 20
	for range later {
		ask(2)
	}
	waitFor(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.waiting["key"] != nil && g.waiting["key"].waiters == later
	})
	if got, err := g.Do(t.Context(), t.Context(), "other key", func(context.Context) (int, error) { return 7, nil }); got != 7 || err != nil {
		t.Errorf("another key waits: %d %v", got, err)
	}
	close(first)
	done.Wait()
	if n := began.Load(); n != 2 {
		t.Errorf("there were %d runs", n)
	}
	expectIdle(t, &g)
}

// The work is cancelled when the last who waits for it has gone, and not before.
func TestFlightsCancel(t *testing.T) {
	t.Parallel()
	var g Group[string, int]
	running, ended := make(chan struct{}), make(chan error, 1)
	run := func(ctx context.Context) (int, error) {
		close(running)
		<-ctx.Done()
		ended <- ctx.Err()
		return 0, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	one := make(chan error)
	go func() {
		_, err := g.Do(ctx, t.Context(), "key", run)
		one <- err
	}()
	<-running

	// Who waits for the next flight and goes away takes it along.
	nextCtx, cancelNext := context.WithCancel(t.Context())
	two := make(chan error)
	go func() {
		_, err := g.Do(nextCtx, t.Context(), "key", func(context.Context) (int, error) {
			t.Error("a flight began that nobody waits for")
			return 0, nil
		})
		two <- err
	}()
	waitFor(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.waiting["key"] != nil
	})
	cancelNext()
	if err := <-two; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Fatal("the work ended while somebody waited for it:", err)
	default:
	}
	cancel()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	expectIdle(t, &g)
}

// One of two who wait may go; the other gets the result.
func TestFlightsLeave(t *testing.T) {
	t.Parallel()
	var g Group[string, int]
	release, running := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	go func() {
		_, err := g.Do(t.Context(), t.Context(), "key", func(context.Context) (int, error) {
			close(running)
			<-release
			return 1, nil
		})
		first <- err
	}()
	<-running
	leaving, cancel := context.WithCancel(t.Context())
	results := make(chan int, 1)
	left := make(chan struct{})
	second := func(ctx context.Context) (int, error) { return 2, ctx.Err() }
	go func() {
		_, _ = g.Do(leaving, t.Context(), "key", second)
		close(left)
	}()
	go func() {
		n, _ := g.Do(t.Context(), t.Context(), "key", second)
		results <- n
	}()
	waitFor(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.waiting["key"] != nil && g.waiting["key"].waiters == 2
	})
	cancel()
	<-left
	close(release)
	if n := <-results; n != 2 {
		t.Errorf("who stayed got %d", n)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	expectIdle(t, &g)
}

// Detached work goes on when nobody waits for it, until its base ends.
func TestFlightsDetached(t *testing.T) {
	t.Parallel()
	g := Group[string, int]{Detached: true}
	base, end := context.WithCancel(t.Context())
	running, ended := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		_, _ = g.Do(ctx, base, "key", func(ctx context.Context) (int, error) {
			close(running)
			<-ctx.Done()
			close(ended)
			return 0, ctx.Err()
		})
		close(left)
	}()
	<-running
	cancel()
	<-left
	select {
	case <-ended:
		t.Fatal("the work ended with the last who waited for it")
	default:
	}
	end()
	<-ended
	g.Work.Wait()
}

// Where those who wait leave at the moment their flight begins, the next one begins all
// the same.
func TestFlightsLeaveAtTheirTurn(t *testing.T) {
	t.Parallel()
	var g Group[string, int]
	for range 200 {
		release, running := make(chan struct{}), make(chan struct{})
		var done sync.WaitGroup
		done.Go(func() {
			_, _ = g.Do(t.Context(), t.Context(), "key", func(context.Context) (int, error) {
				close(running)
				<-release
				return 1, nil
			})
		})
		<-running
		leaving, cancel := context.WithCancel(t.Context())
		for range 3 {
			done.Go(func() {
				_, _ = g.Do(leaving, t.Context(), "key", func(ctx context.Context) (int, error) { return 2, ctx.Err() })
			})
		}
		runtime.Gosched()
		done.Go(func() { close(release) })
		done.Go(cancel)
		if n, err := g.Do(t.Context(), t.Context(), "key", func(ctx context.Context) (int, error) { return 3, ctx.Err() }); err != nil || n < 2 {
			t.Fatalf("who stayed got %d, %v", n, err)
		}
		done.Wait()
		expectIdle(t, &g)
	}
}

// Who is alone does the work without a goroutine, a channel or a context.
func TestFlightsAlone(t *testing.T) {
	var g Group[string, int]
	run := func(context.Context) (int, error) { return 1, nil }
	if n := testing.AllocsPerRun(100, func() { _, _ = g.Do(t.Context(), t.Context(), "key", run) }); n > 0 {
		t.Errorf("work that nobody shares costs %v allocations", n)
	}
}

// A panic is an error for all who wait, and no more.
func TestFlightsPanic(t *testing.T) {
	t.Parallel()
	var g Group[string, int]
	_, err := g.Do(t.Context(), t.Context(), "key", func(context.Context) (int, error) { panic("oops") })
	if err == nil || !strings.HasPrefix(err.Error(), "panic: oops\n") {
		t.Errorf("the error is %v", err)
	}
	if n, err := g.Do(t.Context(), t.Context(), "key", func(context.Context) (int, error) { return 3, nil }); n != 3 || err != nil {
		t.Errorf("after a panic: %d %v", n, err)
	}
	expectIdle(t, &g)
}

func expectIdle(t *testing.T, g *Group[string, int]) {
	t.Helper()
	g.Work.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.running)+len(g.waiting) > 0 {
		t.Errorf("%d flights run and %d wait", len(g.running), len(g.waiting))
	}
}

// waitFor waits for what another goroutine is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}
