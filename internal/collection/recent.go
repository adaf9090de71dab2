package collection

import (
	"sync"
	"sync/atomic"
	"time"
)

// recent remembers for a while which keys were used, in a fixed amount of memory. Has may
// be true of others, the more of them the fuller it is; then they are spared.
type recent struct {
	slice time.Duration // how long each filter is filled
	bits  uint64

	mu      sync.Mutex
	began   time.Duration // when the current filter was begun
	current atomic.Uint64
	filters [filterCount + 1][]atomic.Uint64
}

// filterCount is how many filters make up the time that is remembered. One more is being
// filled.
const filterCount = 12

// probes is how many bits a key sets.
const probes = 4

// newRecent remembers keys for at least window, with so many bytes for each of filterCount
// filters.
func newRecent(window time.Duration, bytes int, now time.Duration) *recent {
	r := &recent{slice: window / filterCount, bits: uint64(bytes) * 8, began: now}
	for i := range r.filters {
		r.filters[i] = make([]atomic.Uint64, bytes/8)
	}
	return r
}

// add remembers keys.
func (r *recent) add(now time.Duration, keys ...Key) {
	r.advance(now)
	filter := r.filters[r.current.Load()]
	for _, k := range keys {
		r.probe(k, func(word, bit uint64) bool {
			if filter[word].Load()&bit == 0 {
				filter[word].Or(bit)
			}
			return true
		})
	}
}

// has reports whether a key was added within the window before the last add or advance.
func (r *recent) has(k Key) bool {
	for _, filter := range r.filters {
		found := true
		r.probe(k, func(word, bit uint64) bool {
			found = filter[word].Load()&bit != 0
			return found
		})
		if found {
			return true
		}
	}
	return false
}

func (r *recent) probe(k Key, visit func(word, bit uint64) bool) {
	h, step := uint64(k), uint64(k)>>32|1
	for range probes {
		place := h % r.bits
		if !visit(place/64, 1<<(place%64)) {
			return
		}
		h += step * 0x9e3779b97f4a7c15 // the golden ratio: spreads the probes
	}
}

// advance begins a new filter when it is time for that, in place of the oldest one.
func (r *recent) advance(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for passed := 0; now-r.began >= r.slice && passed < len(r.filters); passed++ {
		next := (r.current.Load() + 1) % uint64(len(r.filters))
		for i := range r.filters[next] {
			r.filters[next][i].Store(0)
		}
		r.current.Store(next)
		r.began += r.slice
	}
	if now-r.began >= r.slice { // nothing was used for a long time
		r.began = now
	}
}
