package collection

import (
	"context"
	"errors"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Section is the part of a request from its first use of something that a run may remove
// to its answer. What is used in it is there, and stays for an hour, if End returns no
// error. Its methods may be called from many goroutines. A nil Section guards nothing:
// that of a command, or of a registry that takes no part in collections.
type Section struct {
	replica *Replica

	mu     sync.Mutex
	phase  phase
	epoch  int
	gaps   int
	failed error  // why the request has to be sent again
	pull   bool   // it only reads
	done   func() // of Options.Guard, while it is open and may write
}

type phase int

const (
	idle phase = iota
	open
	ended
)

// Section makes the Section of one request.
func (r *Replica) Section() *Section { return &Section{replica: r} }

// Pull makes the Section of a request that only reads. It goes on if the replica has lost
// contact with the storage, for instance because that is full; then it promises nothing.
func (r *Replica) Pull() *Section { return &Section{replica: r, pull: true} }

// Work begins work that is not a request's. It has to use the context that is returned, and
// what it has stored can be relied on once end has returned no error.
func (r *Replica) Work(ctx context.Context) (work context.Context, end func() error) {
	section := r.Section()
	return With(ctx, section), section.End
}

type sectionKey struct{}

// With returns a context whose section is s.
func With(ctx context.Context, s *Section) context.Context {
	return context.WithValue(ctx, sectionKey{}, s)
}

// From is the section of a context, or nil.
func From(ctx context.Context) *Section {
	s, _ := ctx.Value(sectionKey{}).(*Section)
	return s
}

// Use says that the client relies on a manifest or blob of the repository, and has to be
// called before anything is asked about it. The error is ErrGone if it is no longer there,
// or UnavailableError.
func (s *Section) Use(ctx context.Context, repository string, digests ...digest.Digest) error {
	return s.use(ctx, false, digestKeys(repository, digests))
}

// UseTag is Use for a tag.
func (s *Section) UseTag(ctx context.Context, repository, tag string) error {
	if s == nil {
		return nil
	}
	return s.use(ctx, false, []Key{TagKey(repository, tag)})
}

// Write says that a manifest or blob is about to be written into the repository. It waits
// until nothing removes it.
func (s *Section) Write(ctx context.Context, repository string, d digest.Digest) error {
	if s == nil {
		return nil
	}
	return s.write(ctx, digestKeys(repository, []digest.Digest{d}))
}

// WriteTag is Write for a tag.
func (s *Section) WriteTag(ctx context.Context, repository, tag string) error {
	if s == nil {
		return nil
	}
	return s.write(ctx, []Key{TagKey(repository, tag)})
}

// Suspect reports whether a descriptor cache may vouch for something that is gone, so that
// the storage has to be asked. Seen has to be told if it is there.
func (s *Section) Suspect(repository string, d digest.Digest) bool {
	if s == nil {
		return false
	}
	if s.pull && !s.replica.isValid() {
		return true
	}
	return s.replica.suspects.has(LinkKey(repository, d)) || s.replica.suspects.has(BlobKey(d))
}

// Seen says that the storage has what was a suspect. It counts only if it was used before
// and is protected since, by a lease without a gap.
func (s *Section) Seen(repository string, d digest.Digest) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replica
	r.mu.Lock() // so that no lease begins meanwhile, with other suspects
	defer r.mu.Unlock()
	if s.phase == open && r.validLocked() && s.gaps == r.gaps {
		r.suspects.clear(LinkKey(repository, d))
		r.suspects.clear(BlobKey(d))
	}
}

func digestKeys(repository string, digests []digest.Digest) []Key {
	keys := make([]Key, 0, 2*len(digests))
	for _, d := range digests {
		keys = append(keys, LinkKey(repository, d), BlobKey(d))
	}
	return keys
}

func (s *Section) write(ctx context.Context, keys []Key) error {
	s.replica.writes.add(s.replica.options.Clock(), keys...)
	if err := s.use(ctx, true, keys); err != nil {
		return err
	}
	return s.Check() // others may rely on what is written, even if this request is not answered
}

func (s *Section) use(ctx context.Context, write bool, keys []Key) error {
	if s == nil {
		return nil
	}
	begun, err := s.begin()
	r := s.replica
	// Before it is asked which runs there are; and without a lease, too: a run that begins once
	// there is one again spares what was pulled until then.
	r.uses.add(r.options.Clock(), keys...)
	if err != nil || !begun {
		return err
	}
	for _, i := range *r.installed.Load() {
		for _, k := range keys {
			if err := r.use(ctx, i, k, write); err != nil {
				return s.fail(err)
			}
		}
	}
	return nil
}

// begin opens the section. It reports whether what is used is protected.
func (s *Section) begin() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case s.phase == ended: // what is asked after the answer promises nothing
	case s.phase == open:
		return true, nil
	case r.validLocked():
		s.phase, s.epoch, s.gaps = open, r.epoch, r.gaps
		if !s.pull {
			s.done = r.options.Guard()
		}
		r.sections[s.epoch]++
		return true, nil
	case s.pull:
		r.unguarded = true
	default:
		s.failed = r.unavailable("this replica has lost contact with the storage")
	}
	return false, s.failed
}

// fail records why a request has to be sent again.
func (s *Section) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.As(err, new(UnavailableError)) {
		s.failed = err
	}
	return err
}

// Retry makes the request one that has to be sent again.
func (s *Section) Retry(reason string) error {
	if s == nil {
		return errors.New(reason)
	}
	return s.fail(s.replica.unavailable(reason))
}

// Err is why the request has to be sent again, or nil.
func (s *Section) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Check fails if the lease has run out since the section began.
func (s *Section) Check() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.checkLocked()
}

func (s *Section) checkLocked() error {
	r := s.replica
	valid := r.validLocked()
	if s.failed == nil && s.phase != idle && !s.pull && (!valid || s.gaps != r.gaps) {
		s.failed = r.unavailable("this replica has lost contact with the storage meanwhile")
	}
	return s.failed
}

// End ends the section, and has to be called before a successful answer. An error says
// that what was used may be gone, and that the request has to be sent again.
func (s *Section) End() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != open {
		s.phase = ended
		return s.failed
	}
	r := s.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	err := s.checkLocked()
	s.phase = ended
	if s.done != nil {
		s.done()
	}
	if s.gaps == r.gaps {
		if r.sections[s.epoch]--; r.sections[s.epoch] == 0 {
			delete(r.sections, s.epoch)
		}
		r.ended.Broadcast()
	}
	return err
}
