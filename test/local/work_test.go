//go:build e2e

package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
)

// patience is how long something may take that has to happen.
const patience = 90 * time.Second

// workers are how many clients send requests at the same time.
const workers = 6

// work is the load: clients that push blobs and referrers, delete and list them.
type work struct {
	repo *load.Repository
	// repeated is how often a request had to be sent again, done how many succeeded.
	repeated, done atomic.Int64
	// strict ends the work at the first request that fails.
	strict bool
	// keeping says that nothing is deleted.
	keeping atomic.Bool
	// over is closed when a client has given up, or all have finished.
	over <-chan struct{}
}

// while keeps the clients working while something happens, and until each of them has
// finished what it was at. Requests that fail are sent again until they succeed, unless
// nothing may fail.
func (w *work) while(t *testing.T, strict bool, happens func()) {
	t.Helper()
	w.strict = strict
	w.repeated.Store(0)
	w.done.Store(0)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	group, working := errgroup.WithContext(t.Context())
	w.over = working.Done()
	for range workers {
		group.Go(func() error {
			var own []harness.Manifest
			for ctx.Err() == nil && working.Err() == nil {
				if err := w.one(t.Context(), &own); err != nil {
					return err
				}
			}
			return nil
		})
	}
	w.more(t, workers)
	happens()
	w.more(t, workers)
	stop()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d requests were answered, %d were sent again", w.done.Load(), w.repeated.Load())
}

// more waits until so many more requests have succeeded.
func (w *work) more(t *testing.T, count int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for until := w.done.Load() + count; w.done.Load() < until; {
		select {
		case <-ctx.Done():
			t.Error("the clients get no answers")
			return
		case <-w.over:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// one does one of the things that clients do.
func (w *work) one(ctx context.Context, own *[]harness.Manifest) error {
	subject, client := w.repo.Subjects[rand.IntN(len(w.repo.Subjects))], w.repo.Any()
	switch dice := rand.IntN(10); {
	case dice < 4 || len(*own) == 0:
		if err := w.again(ctx, func() error {
			_, err := client.TryPushBlob(ctx, w.repo.Name, fmt.Append(nil, "a layer ", rand.Uint64()))
			return err
		}); err != nil {
			return err
		}
		m := w.repo.Referrer(subject)
		*own = append(*own, m)
		return w.again(ctx, func() error { return w.repo.Push(ctx, client, m) })
	case dice < 6 && !w.keeping.Load():
		i := rand.IntN(len(*own))
		m := (*own)[i]
		(*own)[i] = (*own)[len(*own)-1]
		*own = (*own)[:len(*own)-1]
		return w.again(ctx, func() error { return w.repo.DeleteAgain(ctx, client, m.Digest()) })
	case dice < 8 && len(*own) > 0:
		m := (*own)[rand.IntN(len(*own))]
		return w.again(ctx, func() error {
			there, err := w.repo.Get(ctx, client, m.Digest())
			if err == nil && !there {
				return fmt.Errorf("%w: %s was pushed, and is not there", errWrong, m.Digest())
			}
			return err
		})
	default:
		return w.again(ctx, func() error {
			asked := w.repo.Ledger.Now()
			all, err := w.repo.Ask(ctx, harness.OCI, subject.Digest, 0, client)
			if err != nil {
				return err
			}
			if err := w.repo.Ledger.Check(harness.OCI, subject.Digest, asked, all); err != nil {
				return fmt.Errorf("%w: %w", errWrong, err)
			}
			return nil
		})
	}
}

// errWrong is an answer that is never right, whatever has failed.
var errWrong = errors.New("a wrong answer")

// refused are answers of the registry, or of the proxy, that no repetition changes.
var refused = regexp.MustCompile(`: 4\d\d `)

// again sends a request until it succeeds.
func (w *work) again(ctx context.Context, send func() error) error {
	for until := time.Now().Add(patience); ; {
		err := send()
		if err == nil {
			w.done.Add(1)
			return nil
		}
		if w.strict || errors.Is(err, errWrong) || refused.MatchString(err.Error()) || time.Now().After(until) {
			return err
		}
		w.repeated.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// expectAll expects everything that was acknowledged to be there and to be listed.
func (w *work) expectAll(t *testing.T) {
	t.Helper()
	present := w.repo.Ledger.Present()
	for _, m := range present {
		if there, err := w.repo.Get(t.Context(), w.repo.Any(), m.Digest()); err != nil || !there {
			t.Errorf("%s was pushed, and is not there: %v", m.Digest(), err)
		}
	}
	for _, subject := range w.repo.Subjects {
		if _, err := w.repo.List(t.Context(), harness.OCI, subject.Digest, 0); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d manifests are there and are listed: %+v", len(present), w.repo.Ledger.Counts())
}
