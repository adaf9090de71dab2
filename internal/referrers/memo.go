package referrers

import (
	"context"
	"sync"
	"time"

	"github.com/oras-distribution/registry/internal/flight"
)

// memos is what has been made from a set and is kept with it. What is asked for by
// several at once is made by one at a time.
type memos struct {
	making flight.Group[string, any]

	mu   sync.Mutex
	room int // bytes left
	kept map[string]memo
}

type memo struct {
	value any
	size  int
}

// memoWeight is what a memo takes beside its key and value.
const memoWeight = 160

// Memo returns what make returned for key before, or what it returns now. It is
// kept as long as there is room for the size, in bytes, that make returns.
func (s *Set) Memo(ctx context.Context, key string, make func(context.Context) (value any, size int, err error)) (any, error) {
	if value, ok := s.recall(key); ok {
		return value, nil
	}
	return s.making.Do(ctx, context.Background(), key, func(ctx context.Context) (any, error) {
		if value, ok := s.recall(key); ok {
			return value, nil
		}
		value, size, err := make(ctx)
		if err == nil && len(s.Referrers) > 0 {
			s.keep(key, memo{value, size + len(key) + memoWeight})
		}
		return value, err
	})
}

func (s *memos) recall(key string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.kept[key]
	return m.value, ok
}

// keep adds a memo. Where there is no room left, all others go.
func (s *memos) keep(key string, m memo) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
