package collection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/layout"
)

// ErrGone is returned for what a run is removing at this moment: it is no longer there.
var ErrGone = errors.New("it is being removed by a garbage collection")

// UnavailableError is returned where a request has to be sent again.
type UnavailableError struct {
	Reason     string
	RetryAfter time.Duration
}

// Error implements error.
func (e UnavailableError) Error() string { return e.Reason }

// Retry is after how long asking again is worth while.
func (e UnavailableError) Retry() time.Duration { return e.RetryAfter }

// use makes sure that a run does not remove what is used, or that the storage alone tells
// whether it is there. A write has to wait until a removal is over.
func (r *Replica) use(ctx context.Context, i *installed, k Key, write bool) error {
	n, ok := i.candidates.batch(k)
	if !ok || i.candidates.kind != onlineRun || i.over.Load() {
		return nil
	}
	known := i.known(k)
	if known == 0 {
		err := r.mark(ctx, i, k, n)
		if layout.IsInterference(err) { // the folder of the run is being removed
			i.set(k, again)
			return nil
		}
		if err != nil {
			return err
		}
		sealed, err := r.exists(ctx, layout.RunSeal(i.name, n))
		if err != nil {
			return err
		}
		if known = marked; sealed {
			if known, err = r.awaitFinal(ctx, i, k, n); err != nil {
				return err
			}
		}
	}
	if known == removed {
		done, err := r.awaitDone(ctx, i, n, write)
		switch {
		case err != nil:
			return err
		case done:
			known = again
		case !write:
			i.set(k, removed)
			return ErrGone
		}
	}
	i.set(k, known)
	return nil
}

// mark objects to the removal of a candidate.
func (r *Replica) mark(ctx context.Context, i *installed, k Key, n int) error {
	if err := r.driver.PutContent(ctx, markPath(i.name, n, k), []byte("used")); err != nil {
		return fmt.Errorf("marking what is used: %w", err)
	}
	return nil
}

// awaitFinal waits until it is decided what becomes of a sealed candidate.
func (r *Replica) awaitFinal(ctx context.Context, i *installed, k Key, n int) (s state, err error) {
	decided, err := r.await(ctx, func() (bool, error) {
		err := r.reader.Derived(ctx, layout.RunFinal(i.name, n), maxCandidatesFile, func(content []byte) {
			s = marked
			if slices.Contains(decodeKeys(content), k) {
				s = removed
			}
		})
		if !layout.IsNotFound(err) {
			return err == nil, err
		}
		over, err := r.isOver(ctx, i)
		if err == nil && over {
			s = again
		}
		return s == again, err
	})
	if err == nil && !decided {
		err = r.unavailable("a garbage collection is about to decide what it removes")
	}
	return s, err
}

// awaitDone reports whether a batch has been removed, or never will be. A write waits for
// that. The files of a run that has ended go in any order, but after its candidates.
func (r *Replica) awaitDone(ctx context.Context, i *installed, n int, write bool) (bool, error) {
	ask := func() (bool, error) {
		done, err := r.exists(ctx, layout.RunDone(i.name, n))
		if err == nil && !done {
			done, err = r.isOver(ctx, i)
		}
		return done, err
	}
	if !write {
		return ask()
	}
	done, err := r.await(ctx, ask)
	if err == nil && !done {
		err = r.unavailable("a garbage collection is removing what is written")
	}
	return done, err
}

// isOver reports whether a run has ended, or its collector is known to be dead.
func (r *Replica) isOver(ctx context.Context, i *installed) (bool, error) {
	there, err := r.exists(ctx, layout.RunCandidates(i.name))
	if err != nil || !there {
		return err == nil, err
	}
	return r.exists(ctx, layout.RunOver(i.name))
}

// await asks until it is so, for as long as a request may wait.
func (r *Replica) await(ctx context.Context, ask func() (bool, error)) (bool, error) {
	until := r.options.Clock() + r.options.Pace.sealWait()
	for {
		is, err := ask()
		if err != nil || is || r.options.Clock() >= until {
			return is, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(r.options.Pace.busy() / 5):
		}
	}
}

func (r *Replica) unavailable(reason string) error {
	return UnavailableError{Reason: reason + "; send the request again", RetryAfter: max(r.options.Pace.busy(), time.Second)}
}

func (r *Replica) exists(ctx context.Context, file string) (bool, error) {
	return exists(ctx, r.driver, file)
}

// exists reports whether a file is there.
func exists(ctx context.Context, driver storagedriver.StorageDriver, file string) (bool, error) {
	_, err := driver.Stat(ctx, file)
	switch {
	case layout.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("asking for %s: %w", file, err)
	}
	return true, nil
}

func markPath(run string, n int, k Key) string {
	return fmt.Sprintf("%s/%016x", layout.RunMarks(run, n), uint64(k))
}
