package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"github.com/oras-distribution/registry/extensions"
)

// store is what all repositories of the mirror share.
type store struct {
	extensions.Services
	flights   singleflight.Group
	facts     *otter.Cache[string, fact]
	absent    *otter.Cache[string, time.Duration] // for how long
	downloads downloads
}

const (
	// maxFacts is how many tags and subjects are known without asking the storage.
	maxFacts = 10_000
	// absence is how long something is taken for absent at most that the origin did not have.
	absence = 5 * time.Second
)

func newStore(services extensions.Services) *store {
	return &store{
		Services: services,
		facts:    otter.Must(&otter.Options[string, fact]{MaximumSize: maxFacts}),
		absent: otter.Must(&otter.Options[string, time.Duration]{
			MaximumSize:      maxFacts,
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, time.Duration]) time.Duration { return e.Value }),
		}),
	}
}

// isAbsent reports whether an origin has just said that it does not have something.
func (s *store) isAbsent(name string) bool {
	_, absent := s.absent.GetIfPresent(name)
	return absent
}

// setAbsent keeps that an origin does not have something.
func (s *store) setAbsent(o *origin, name string) {
	if kept := min(absence, o.ttl); kept > 0 {
		s.absent.Set(name, kept)
	}
}

// fact is what an origin has said about a tag, or about the referrers of a subject. It may
// have changed there since.
type fact struct {
	value  any       // as question.ask has returned it; nil: nothing is known
	at     time.Time // before it was said
	kept   time.Time // that of its record
	failed error     // why it could not be asked again
	retry  time.Time // not before this
}

// age is how old the fact is. One from the future is of no use: a clock is wrong.
func (f fact) age() time.Duration {
	age := time.Since(f.at)
	if age < -time.Minute {
		return time.Duration(1<<63 - 1)
	}
	return max(age, 0)
}

// question is what an origin is asked again and again. Its answer is a T, which becomes JSON.
type question[T any] struct {
	*store
	origin *origin
	key    string // of the record
	// ttl is how long an answer counts.
	ttl func(T) time.Duration
	// ask asks. It gets the last answer, or the zero value.
	ask func(ctx context.Context, last T) (T, error)
	// recorded reports whether an answer is recorded; nil: always. What clients ask must
	// not fill the storage.
	recorded func(context.Context, T) (bool, error)
}

func (q *question[T]) name() string { return q.origin.repository + " " + q.key }

func (q *question[T]) isFresh(f fact) bool {
	value, ok := f.value.(T)
	return ok && f.age() < q.ttl(value)
}

func (q *question[T]) isUsable(f fact) bool {
	return f.value != nil && f.age() <= q.origin.maxStale
}

// answer is what is known if that is fresh, or if it is not too old and the origin fails;
// otherwise what the origin says.
func (q *question[T]) answer(ctx context.Context) (answer T, err error) {
	f, ok := q.facts.GetIfPresent(q.name())
	if !ok {
		if f, err = q.record(ctx); err != nil {
			return answer, err
		}
	}
	if !q.isFresh(f) && !time.Now().Before(f.retry) {
		if f, err = q.renewed(ctx, f); err != nil {
			return answer, err
		}
	}
	if f.failed != nil {
		if isDenied(f.failed) || !q.isUsable(f) {
			return answer, q.origin.failure(f.failed)
		}
		q.origin.meter.stale.Inc()
		stale(ctx, f.age())
	}
	return f.value.(T), nil
}

// record is what was recorded last, by any replica.
func (q *question[T]) record(ctx context.Context) (fact, error) {
	content, at, err := q.Records.Newest(ctx, q.origin.repository, q.key)
	if err != nil || at.IsZero() {
		return fact{}, here(err)
	}
	var value T
	if json.Unmarshal(content, &value) != nil {
		return fact{}, nil // it is asked again, and recorded as it should be
	}
	return fact{value: value, at: at, kept: at}, nil
}

// renewed waits for the origin, but not for long if there is an older answer.
func (q *question[T]) renewed(ctx context.Context, f fact) (fact, error) {
	wait := ctx
	if q.isUsable(f) {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeoutCause(ctx, q.origin.patience, errSlow)
		defer cancel()
	}
	renewed, err := shared(wait, q.store, q.origin, q.name(), func(ctx context.Context) (fact, error) { return q.renew(ctx, f) })
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(wait), errSlow) {
		late := f // which is still being read
		late.failed = errSlow
		return late, nil
	}
	return renewed, err
}

var errSlow = errors.New("it took too long")

// renew finds out what another replica has recorded, and otherwise asks the origin. If that
// says that there is no such thing, nothing is known any more.
func (q *question[T]) renew(ctx context.Context, f fact) (fact, error) {
	record, err := q.record(ctx)
	if err != nil {
		return f, err
	}
	if record.at.After(f.at) {
		f = record
	}
	if q.isFresh(f) {
		q.facts.Set(q.name(), f)
		return f, nil
	}
	began := time.Now()
	last, _ := f.value.(T)
	value, err := q.ask(ctx, last)
	switch {
	case isHere(err):
		return f, err
	case isAbsent(err):
		q.facts.Invalidate(q.name())
		return f, errors.Join(err, q.Records.Remove(ctx, q.origin.repository, q.key))
	case err != nil:
		f.failed, f.retry = err, time.Now().Add(q.origin.pause)
		logrus.WithFields(logrus.Fields{"vars.name": q.origin.repository, "upstream": q.origin.name}).
			Warnf("mirror: asking for %s: %s", q.key, reason(err))
	default:
		last := f
		f = fact{value: value, at: began, kept: last.kept}
		if err := q.keep(ctx, &f, last); err != nil { // it is as true as before, and other replicas ask themselves
			logrus.WithField("vars.name", q.origin.repository).Warnf("mirror: recording %s: %v", q.key, err)
		}
	}
	q.facts.Set(q.name(), f)
	return f, nil
}

// keep records an answer for other replicas and for later: if it has changed, and from time
// to time.
func (q *question[T]) keep(ctx context.Context, f *fact, last fact) error {
	value := f.value.(T)
	if reflect.DeepEqual(value, last.value) && f.at.Sub(last.kept) < max(q.origin.ttl, q.origin.maxStale/100) {
		return nil
	}
	if q.recorded != nil {
		if worthIt, err := q.recorded(ctx, value); err != nil || !worthIt {
			return err
		}
	}
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	f.kept = f.at
	return q.Records.Add(ctx, q.origin.repository, q.key, content, f.at)
}

// shared does something once for all that ask for it at the same time. It goes on when they
// leave, but not forever: an operation of the storage that never ends would keep all who ask later.
func shared[T any](ctx context.Context, s *store, o *origin, name string, do func(context.Context) (T, error)) (T, error) {
	done := s.flights.DoChan(name, func() (value any, err error) {
		working, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.listing)
		defer cancel()
		err = guarded(func() (err error) {
			value, err = do(working)
			return err
		})
		return value, err
	})
	var none T
	select {
	case result := <-done:
		if result.Err != nil {
			return none, result.Err
		}
		return result.Val.(T), nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// guarded makes an error of a panic: outside of requests, it would end the process.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			logrus.Errorf("mirror: panic: %v\n%s", p, debug.Stack())
			err = here(fmt.Errorf("panic: %v", p))
		}
	}()
	return do()
}

// storing stores something that no garbage collection takes meanwhile. Where one may have taken
// it, it is got again when somebody asks for it. It may take so long at most.
func (s *store) storing(ctx context.Context, limit time.Duration, store func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, end := s.Work(ctx)
	err := store(ctx)
	if ended := end(); ended != nil {
		logrus.Debugf("mirror: %v", ended)
	}
	return here(err)
}
