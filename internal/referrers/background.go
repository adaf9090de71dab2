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
	// Failed says that not all could be made ready or found, and that it will be tried again.
	Failed bool
}

// PrepareAll makes all repositories ready in the background, so that few requests
// have to wait for theirs. enumerate calls its argument for each repository.
// report is called now and then, and at the end of each attempt. Failures are reported to
// the Observer and tried again until the Index is closed.
func (x *Index) PrepareAll(enumerate func(context.Context, func(repository string) error) error, report func(Progress)) {
	x.work.Go(func() {
		for {
			err := x.prepareOnce(enumerate, report)
			if err == nil || x.ctx.Err() != nil {
				return
			}
			x.failed("", err)
			select {
			case <-x.ctx.Done():
				return
			case <-time.After(retryAfter):
			}
		}
	})
}

func (x *Index) prepareOnce(enumerate func(context.Context, func(string) error) error, report func(Progress)) error {
	var found, ready atomic.Int64
	progress := func(done, failed bool) Progress {
		return Progress{Repositories: found.Load(), Ready: ready.Load(), Done: done, Failed: failed}
	}
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	var group errgroup.Group // the others are not worse for one that fails
	group.SetLimit(backgroundRepositories)
	err := enumerate(x.ctx, func(repository string) error {
		found.Add(1)
		select {
		case <-ticker.C:
			report(progress(false, false))
		default:
		}
		group.Go(func() error {
			err := x.index(x.ctx, repository)
			if err == nil {
				ready.Add(1)
			}
			return err
		})
		return x.ctx.Err()
	})
	if layout.IsNotFound(err) {
		err = nil // nothing is stored yet
	}
	if err = errors.Join(err, group.Wait()); x.ctx.Err() == nil {
		report(progress(err == nil, err != nil))
	}
	return err
}

// index makes a repository ready, and links what it has found if that was not
// known before and is from now on.
func (x *Index) index(ctx context.Context, repository string) error {
	result, err := x.makeReady(ctx, repository)
	if err != nil || !result.noted {
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
