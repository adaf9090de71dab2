package referrers

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
)

// backgroundRepositories is how many repositories are made ready at once beside
// those that are asked for.
const backgroundRepositories = 4

// retryAfter is how long work in the background rests after a failure.
const retryAfter = 30 * time.Second

// Progress is how far the work in the background has come.
type Progress struct {
	// Repositories have been found, Ready of them are ready; Done says that there
	// are no more.
	Repositories, Ready int64
	Done                bool
}

// PrepareAll makes all repositories ready in the background, so that few requests
// have to wait for theirs. enumerate calls its argument for each repository.
// report is called now and then, and at the end. Failures are reported to the
// Observer and tried again until ctx ends or the Index is closed.
func (x *Index) PrepareAll(enumerate func(context.Context, func(repository string) error) error, report func(Progress)) {
	x.work.Add(1)
	go func() {
		defer x.work.Done()
		for x.ctx.Err() == nil {
			err := x.prepareOnce(enumerate, report)
			if err == nil {
				return
			}
			if x.ctx.Err() == nil {
				x.options.Observer.Failed("", err)
			}
			select {
			case <-x.ctx.Done():
			case <-time.After(retryAfter):
			}
		}
	}()
}

func (x *Index) prepareOnce(enumerate func(context.Context, func(string) error) error, report func(Progress)) error {
	var found, ready atomic.Int64
	progress := func(done bool) Progress {
		return Progress{Repositories: found.Load(), Ready: ready.Load(), Done: done}
	}
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	group, ctx := errgroup.WithContext(x.ctx)
	group.SetLimit(backgroundRepositories)
	var failed atomic.Pointer[error]
	err := enumerate(ctx, func(repository string) error {
		found.Add(1)
		select {
		case <-ticker.C:
			report(progress(false))
		default:
		}
		group.Go(func() error {
			if err := x.index(ctx, repository); err != nil {
				failed.Store(&err)
				return nil // the others are not worse for it
			}
			ready.Add(1)
			return nil
		})
		return ctx.Err()
	})
	_ = group.Wait()
	if layout.IsNotFound(err) {
		err = nil // nothing is stored yet
	}
	if p := failed.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	if err == nil {
		report(progress(true))
	}
	return err
}

// index makes a repository ready, and links what it has found if that was not
// known before.
func (x *Index) index(ctx context.Context, repository string) error {
	result, err := x.makeReady(ctx, repository)
	if err != nil || result.Read == 0 || x.options.ReadOnly {
		return err
	}
	s := &scanner{index: x, repository: repository, step: func() {}}
	if _, err := s.settle(ctx, x.ready.all(repository)); err != nil {
		return err
	}
	if s.result.Added > 0 {
		x.options.Observer.Linked(repository, s.result.Added)
	}
	return nil
}
