package referrers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
)

// ScanResult is what getting a repository ready came to.
type ScanResult struct {
	// Revisions is how many manifests the repository has, Read how many of them had
	// to be read.
	Revisions, Read int
	// Added is how many links were made.
	Added int
	// Unreadable is how many manifests could not be read.
	Unreadable int

	noted bool // what was read has been written down
}

// partialAfter is how many manifests are read between two notes of how far a
// scan has come, so that one that is killed goes on from there.
const partialAfter = 5_000

// prepare waits until the repository is ready, or answers NotReadyError when that
// takes too long.
func (x *Index) prepare(ctx context.Context, repository string) error {
	waitCtx, cancel := context.WithTimeout(ctx, x.options.Wait)
	defer cancel()
	_, err := x.makeReady(waitCtx, repository)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return NotReadyError{Repository: repository, RetryAfter: max(x.options.Wait, time.Second)}
	}
	return err
}

// stallTimeout is how long a scan may take for its next step. A storage that
// answers no more ends it, so that the next who asks begins a new one.
const stallTimeout = 2 * time.Minute

// makeReady scans a repository unless it is ready. The scan goes on when ctx
// ends, for the next who asks.
func (x *Index) makeReady(ctx context.Context, repository string) (ScanResult, error) {
	if x.ready.has(repository) {
		return ScanResult{}, nil
	}
	return x.scans.Do(ctx, x.ctx, repository, func(ctx context.Context) (ScanResult, error) {
		if x.ready.has(repository) {
			return ScanResult{}, nil
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stalled := time.AfterFunc(stallTimeout, func() {
			cancel(fmt.Errorf("indexing %s: the storage has not answered for %s", repository, stallTimeout))
		})
		defer stalled.Stop()
		result, err := x.getReady(ctx, repository, func() { stalled.Reset(stallTimeout) })
		if err != nil && ctx.Err() != nil && x.ctx.Err() == nil {
			err = context.Cause(ctx)
		}
		return result, err
	})
}

// getReady learns which subject each manifest of a repository names. It costs three
// storage operations where that is known of all of them.
func (x *Index) getReady(ctx context.Context, repository string, step func()) (ScanResult, error) {
	s := &scanner{index: x, repository: repository, step: step}
	if err := s.run(ctx); err != nil {
		return s.result, err
	}
	left, err := s.settle(ctx, s.attached)
	if err != nil {
		return s.result, err
	}
	if s.result.Read > 0 {
		for _, d := range s.indexes { // only now: nothing else says what they attach
			s.known[d] = ""
		}
		if err := s.note(ctx); err != nil {
			return s.result, err
		}
	}
	left = append(left, s.pairs...)
	if !x.ready.hasRoomFor(len(left)) {
		// What cannot be kept until its subject is listed is asked for now.
		if left, err = s.settle(ctx, left); err != nil {
			return s.result, err
		}
	}
	if s.result.Revisions > 0 { // what is not there is not kept
		x.ready.keep(repository, newUnseen(left))
	}
	x.options.Observer.Scanned(repository, s.result)
	return s.result, nil
}

// scanner is one scan of one repository.
type scanner struct {
	index      *Index
	repository string
	afresh     bool   // what is known from before does not count
	step       func() // called for each manifest and tag that was read
	result     ScanResult

	mu         sync.Mutex
	present    map[digest.Digest]bool
	known      facts
	indexes    []digest.Digest // without subject: one may be a referrers-tag index
	pairs      pairs           // of manifests that are there and the subjects they have
	attached   pairs           // the same for those that have none but by a tag
	unreadable map[digest.Digest]error
	shortened  map[string]digest.Digest // digests by their referrers tags, where those are shorter
}

// run reads the manifests of which nothing is known.
func (s *scanner) run(ctx context.Context) error {
	s.unreadable = map[digest.Digest]error{}
	if err := s.ask(ctx); err != nil {
		return err
	}
	var fresh []digest.Digest
	for d := range s.present {
		if subject, ok := s.known[d]; !ok {
			fresh = append(fresh, d)
		} else if subject != "" {
			s.pairs = append(s.pairs, pair{subject, d})
		}
	}
	if err := s.readAll(ctx, fresh); err != nil || len(s.indexes) == 0 {
		return err
	}
	return s.readTags(ctx)
}

// ask reads the names of the manifests and what is known of them.
func (s *scanner) ask(ctx context.Context) error {
	revisions, err := layout.ListRevisions(ctx, s.index.options.Names, s.repository)
	if err != nil {
		return err
	}
	s.result.Revisions = len(revisions)
	s.present = make(map[digest.Digest]bool, len(revisions))
	for _, d := range revisions {
		s.present[d] = true
	}
	s.known = facts{}
	if !s.afresh {
		s.known, err = s.index.readFacts(ctx, s.repository, len(s.present))
	}
	return err
}

// note writes down what is known of the manifests that are there. That it fails
// makes no answer wrong.
func (s *scanner) note(ctx context.Context) error {
	known := maps.Clone(s.known)
	maps.DeleteFunc(known, func(d, _ digest.Digest) bool { return !s.present[d] })
	err := s.index.writeFacts(ctx, s.repository, known)
	s.result.noted = err == nil
	if ctx.Err() == nil {
		s.index.failed(s.repository, err)
	}
	return ctx.Err()
}

// readAll reads manifests, with a bound on how many at once.
func (s *scanner) readAll(ctx context.Context, list []digest.Digest) error {
	for len(list) > 0 {
		part := list[:min(partialAfter, len(list))]
		list = list[len(part):]
		err := forEach(ctx, s.index.options.Concurrency, part, func(ctx context.Context, i int) error { return s.read(ctx, part[i]) })
		if err != nil {
			return err
		}
		if len(list) > 0 && !s.afresh {
			if err := s.note(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *scanner) read(ctx context.Context, d digest.Digest) error {
	x := s.index
	defer s.step()
	r, err := x.describe(ctx, d)
	switch {
	case layout.IsBroken(err): // nothing is known of it, so it is read again next time
		there, askErr := x.HasRevision(ctx, s.repository, d)
		if there { // and not only its folder
			s.skip(d, err)
		}
		return askErr
	case errors.As(err, new(*unreadableError)):
		s.skip(d, err)
		r = &Referrer{}
	case err != nil:
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Read++
	switch {
	case r.Subject != "":
		s.known[d] = r.Subject
		s.pairs = append(s.pairs, pair{r.Subject, d})
		x.facts.Set(d, r)
	case r.MediaType == v1.MediaTypeImageIndex:
		s.indexes = append(s.indexes, d)
	default:
		s.known[d] = ""
	}
	return nil
}

// skip notes that a manifest cannot be pulled.
func (s *scanner) skip(d digest.Digest, reason error) {
	s.index.options.Observer.Skipped(s.repository, "", d, reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Unreadable++
	s.unreadable[d] = reason
}

// settle links the manifests that are there and not linked, and returns those that
// it may not link. Pairs of one subject are linked together.
func (s *scanner) settle(ctx context.Context, list pairs) (left pairs, err error) {
	atOnce := s.index.options.Concurrency
	missing := make([]bool, len(list))
	err = forEach(ctx, atOnce, list, func(ctx context.Context, i int) (err error) {
		defer s.step()
		missing[i], err = s.isMissing(ctx, list[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, p := range list {
		if missing[i] {
			left = append(left, p)
		}
	}
	slices.SortStableFunc(left, func(a, b pair) int { return cmp.Compare(a.subject, b.subject) })
	var groups []pairs
	for i, p := range left {
		if i == 0 || p.subject != left[i-1].subject {
			groups = append(groups, nil)
		}
		last := &groups[len(groups)-1]
		*last = append(*last, p)
	}
	err = forEach(ctx, atOnce, groups, func(ctx context.Context, i int) error {
		return s.index.restore(ctx, s.repository, groups[i], max(1, atOnce/len(groups)), func(_ int, there bool) {
			defer s.step()
			if there {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.result.Added++
			}
		})
	})
	if errors.Is(err, layout.ErrReadOnly) {
		return left, nil
	}
	return nil, err
}

// isMissing reports whether a manifest is in the repository and not linked.
func (s *scanner) isMissing(ctx context.Context, p pair) (bool, error) {
	linked, err := s.index.hasLink(ctx, s.repository, p.subject, p.referrer)
	if err != nil || linked {
		return false, err
	}
	return s.index.HasRevision(ctx, s.repository, p.referrer)
}
