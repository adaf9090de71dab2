package referrers

import (
	"context"
	"errors"
	"sync"
	"time"
)

// memos is what has been made from a set and is kept with it. What is asked for by
// several at once is made once.
type memos struct {
	room int // bytes left

	mu     sync.Mutex
	kept   map[string]memo
	making map[string]*making
}

type memo struct {
	value any
	size  int
}

type making struct {
	done  chan struct{}
	value any
	err   error
}

// memoWeight is what a memo takes beside its key and value.
const memoWeight = 160

// Memo returns what make returned for key before, or what it returns now. It is
// kept as long as there is room for the size, in bytes, that make returns.
func (s *Set) Memo(ctx context.Context, key string, make func() (value any, size int, err error)) (any, error) {
	for {
		s.mu.Lock()
		if kept, ok := s.kept[key]; ok {
			s.mu.Unlock()
			return kept.value, nil
		}
		m := s.making[key]
		if m == nil {
			m = s.begin(key)
			s.mu.Unlock()
			s.make(key, m, make)
			return m.value, m.err
		}
		s.mu.Unlock()
		select {
		case <-m.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(m.err, context.Canceled) && !errors.Is(m.err, context.DeadlineExceeded) {
			return m.value, m.err
		} // else the one who made it went away
	}
}

// begin notes that something is being made; the caller holds the lock.
func (s *memos) begin(key string) *making {
	m := &making{done: make(chan struct{})}
	if s.making == nil {
		s.making = map[string]*making{}
	}
	s.making[key] = m
	return m
}

func (s *Set) make(key string, m *making, make func() (any, int, error)) {
	m.err = errors.New("it could not be made") // if make panics
	size := 0
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.making, key)
		if m.err == nil && len(s.Referrers) > 0 {
			s.keep(key, memo{m.value, size + len(key) + memoWeight})
		}
		close(m.done)
	}()
	m.value, size, m.err = make()
}

// keep adds a memo. Where there is no room left, all others go.
func (s *memos) keep(key string, m memo) {
	if m.size > s.room {
		for _, old := range s.kept {
			s.room += old.size
		}
		clear(s.kept)
	}
	if m.size > s.room {
		return
	}
	if s.kept == nil {
		s.kept = map[string]memo{}
	}
	s.kept[key] = m
	s.room -= m.size
}

// freePage is the size below which a page is not counted while it is sent.
const freePage = 64 << 10

// Hold counts a page of at most limit bytes against the budget until it has been
// sent. Where too many large pages are on their way, it waits, and then fails with
// BusyError.
func (s *Set) Hold(ctx context.Context, limit int) (release func(), err error) {
	size := min(s.listed, limit)
	if s.index == nil || size < freePage {
		return func() {}, nil
	}
	size = min(size, s.index.pagesSize)
	waitCtx, cancel := context.WithTimeout(ctx, s.index.options.Wait)
	defer cancel()
	if err := s.index.pages.Acquire(waitCtx, int64(size)); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, BusyError{}
	}
	return func() { s.index.pages.Release(int64(size)) }, nil
}

// BusyError is returned where too many large pages are being sent.
type BusyError struct{}

// Error implements error.
func (BusyError) Error() string { return "too many large listings are being sent" }

// Retry is after how long asking again is worth while.
func (BusyError) Retry() time.Duration { return 10 * time.Second }
