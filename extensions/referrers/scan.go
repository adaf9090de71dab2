package referrers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/extensions/manifest"
)

// ScanResult is what looking at the manifests of a repository came to.
type ScanResult struct {
	// Revisions is how many manifests the repository has, Read how many of them had
	// to be read.
	Revisions, Read int
	// Added and Removed are how many links were made and removed.
	Added, Removed int
	// Unreadable is how many manifests could not be made sense of.
	Unreadable int
}

// partialAfter is how many manifests are read between two notes of how far a
// scan has come, so that one that is killed goes on from there.
const partialAfter = 5_000

// ready waits until it is known that all manifests of the repository that have
// a subject are linked, or answers ErrNotReady when that takes too long.
func (x *Index) ready(ctx context.Context, repository string) (*repoState, error) {
	waitCtx, cancel := context.WithTimeout(ctx, x.options.Wait)
	defer cancel()
	state, err := x.makeReady(waitCtx, repository)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, ErrNotReady{Repository: repository, RetryAfter: max(x.options.Wait, time.Second)}
	}
	return state, err
}

// stallTimeout is how long a scan may take for its next step. A storage that
// answers no more ends it, so that the next who asks begins a new one.
const stallTimeout = 2 * time.Minute

// makeReady scans a repository unless it is ready. The scan goes on when ctx
// ends, for the next who asks.
func (x *Index) makeReady(ctx context.Context, repository string) (*repoState, error) {
	if state, ok := x.repos.GetIfPresent(repository); ok {
		return state, nil
	}
	return x.scans.do(ctx, x.ctx, repository, func(ctx context.Context) (*repoState, error) {
		if state, ok := x.repos.GetIfPresent(repository); ok {
			return state, nil
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stalled := time.AfterFunc(stallTimeout, func() {
			cancel(fmt.Errorf("indexing %s: the storage has not answered for %s", repository, stallTimeout))
		})
		defer stalled.Stop()
		state, err := x.scan(ctx, repository, func() { stalled.Reset(stallTimeout) })
		if err != nil && ctx.Err() != nil && x.ctx.Err() == nil {
			err = context.Cause(ctx)
		}
		return state, err
	})
}

// scan looks at every manifest of a repository that has not been looked at: by
// this process, or by one that noted it in the file of scanned revisions. So it
// finds what other programs pushed to the tree or deleted from it meanwhile. It
// costs two storage operations where there was nothing of the kind.
func (x *Index) scan(ctx context.Context, repository string, alive func()) (*repoState, error) {
	s := &scanner{index: x, repository: repository, write: !x.options.ReadOnly, alive: alive, state: &repoState{}}
	found, err := s.run(ctx)
	if err != nil {
		return nil, err
	}
	x.options.Observer.Scanned(repository, s.result)
	if found { // a repository that is not there is not kept in mind
		x.repos.Set(repository, s.state)
	}
	return s.state, nil
}

// scanner is one scan of one repository.
type scanner struct {
	index      *Index
	repository string
	write      bool   // false: links go to the overlay, and nothing is noted
	afresh     bool   // true: what was noted before does not count
	each       func() // called for each manifest that was read; may be nil
	alive      func() // called for each step; may be nil
	mu         sync.Mutex
	state      *repoState
	known      *revisions
	present    map[digest.Digest]struct{}
	result     ScanResult
	indexes    bool // an index without subject was read: it may be a referrers-tag index
}

func (s *scanner) run(ctx context.Context) (found bool, err error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		s.present, err = s.index.present(groupCtx, s.repository)
		return err
	})
	group.Go(func() (err error) {
		s.known, err = s.index.readRevisions(groupCtx, s.repository)
		return err
	})
	if err := group.Wait(); err != nil {
		return false, err
	}
	s.state.unsure = !s.known.complete
	s.index.derived.merge(s.repository, s.known)
	if s.afresh {
		s.forget()
	}
	s.result.Revisions = len(s.present)
	fresh, gone := s.compare()
	s.state.noted = noteLinks(s.known)
	if err := s.readAll(ctx, fresh); err != nil {
		return false, err
	}
	for d, subjects := range gone {
		for _, subject := range subjects {
			if err := s.unlink(ctx, subject, d); err != nil {
				return false, err
			}
			s.step()
		}
	}
	if s.indexes || !s.known.complete {
		if err := s.readTags(ctx); err != nil {
			return false, err
		}
	}
	if noted := s.known.complete && len(fresh) == 0 && len(gone) == 0; !noted && len(s.present)+len(gone) > 0 {
		s.known.complete = true
		if err := s.note(ctx); err != nil {
			return false, err
		}
	}
	return len(s.present) > 0, nil
}

// forget drops what was noted, but for manifests that are gone: their links are
// to be removed.
func (s *scanner) forget() {
	s.known.complete = false
	for d := range s.known.known {
		if s.isPresent(d) {
			delete(s.known.known, d)
		}
	}
}

// compare finds the manifests that have not been looked at, and those that were
// and are no longer there.
func (s *scanner) compare() (fresh []digest.Digest, gone map[digest.Digest][]digest.Digest) {
	gone = map[digest.Digest][]digest.Digest{}
	for d := range s.present {
		if _, ok := s.known.known[d]; !ok {
			fresh = append(fresh, d)
		}
	}
	for d, subjects := range s.known.known {
		if _, ok := s.present[d]; !ok {
			gone[d] = subjects
			delete(s.known.known, d)
		}
	}
	return fresh, gone
}

// readAll reads manifests, with a bound on how many at once, and links them.
func (s *scanner) readAll(ctx context.Context, list []digest.Digest) error {
	for len(list) > 0 {
		part := list[:min(partialAfter, len(list))]
		list = list[len(part):]
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(s.index.options.Concurrency)
		for _, d := range part {
			group.Go(func() error { return s.read(groupCtx, d) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if len(list) > 0 {
			s.known.complete = false // the tags come after the manifests
			if err := s.note(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *scanner) read(ctx context.Context, d digest.Digest) error {
	x := s.index
	content, err := x.content(ctx, d)
	if errors.Is(err, errNoContent) || errors.Is(err, errCorrupt) {
		// It cannot be pulled either. It is not noted, so that it is looked at again.
		x.options.Observer.Skipped(s.repository, "", d, err)
		s.count(func() { s.result.Unreadable++ })
		return nil
	}
	if err != nil {
		return err
	}
	var subject digest.Digest
	m, err := manifest.Parse(content)
	switch {
	case err != nil:
		x.options.Observer.Skipped(s.repository, "", d, err)
		s.count(func() { s.result.Unreadable++ })
	case m.Subject != nil:
		subject = m.Subject.Digest
		if linked, err := s.link(ctx, subject, d); err != nil || !linked {
			return err
		}
		x.contents.Set(d, content)
	}
	s.count(func() {
		s.result.Read++
		s.indexes = s.indexes || subject == "" && m != nil && m.MediaType == v1.MediaTypeImageIndex
		s.known.add(d, subject)
	})
	if s.each != nil {
		s.each()
	}
	s.step()
	return nil
}

// step tells that the storage has answered.
func (s *scanner) step() {
	if s.alive != nil {
		s.alive()
	}
}

func (s *scanner) count(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *scanner) isPresent(d digest.Digest) bool {
	_, ok := s.present[d]
	return ok
}

// link makes a link if it is not there. It reports false for a folder that has
// no revision in it, which some drivers list: that is not linked.
func (s *scanner) link(ctx context.Context, subject, referrer digest.Digest) (bool, error) {
	x := s.index
	there, err := x.HasRevision(ctx, s.repository, referrer)
	if err != nil || !there {
		return false, err
	}
	if there, err = x.hasLink(ctx, s.repository, subject, referrer); err != nil || there {
		return there, err
	}
	if s.write {
		err := x.Add(ctx, s.repository, subject, referrer)
		if errors.As(err, new(ErrDeleted)) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	s.count(func() {
		s.result.Added++
		s.state.changed = true
		if !s.write {
			s.state.add(subject, referrer)
		}
	})
	return true, nil
}

// unlink removes the link of a manifest that another program deleted. If the
// manifest was pushed again meanwhile, the link is put back.
func (s *scanner) unlink(ctx context.Context, subject, referrer digest.Digest) error {
	there, err := s.index.HasRevision(ctx, s.repository, referrer)
	if err != nil {
		return err
	}
	if there { // pushed since the manifests were listed
		s.known.add(referrer, subject)
		return nil
	}
	if s.write {
		if err := s.index.drop(ctx, s.repository, subject, referrer); err != nil {
			return err
		}
	} else {
		s.state.remove(subject, referrer)
	}
	s.index.options.Observer.Skipped(s.repository, subject, referrer, errGone)
	s.result.Removed++
	s.state.changed = true
	return nil
}

// note writes down how far the scan has come.
func (s *scanner) note(ctx context.Context) error {
	if !s.write {
		return nil
	}
	return s.index.writeRevisions(ctx, s.repository, s.known)
}
