package pulls

import (
	"hash/maphash"
	"sync"
	"time"
)

// memory is what has been recorded a short while ago. It forgets the oldest half when it is
// full.
type memory struct {
	mu              sync.Mutex
	seed            *maphash.Seed
	current, former map[uint64]time.Time // until when
}

// add remembers a pull for some time, unless it is still remembered.
func (m *memory) add(p pull, period time.Duration) (added bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.key(p)
	for _, known := range []map[uint64]time.Time{m.current, m.former} {
		if p.at.Before(known[k]) {
			return false
		}
	}
	if m.current == nil || len(m.current) >= maxRemembered {
		m.current, m.former = map[uint64]time.Time{}, m.current
	}
	m.current[k] = p.at.Add(period)
	return true
}

func (m *memory) remove(p pull) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.key(p)
	delete(m.current, k)
	delete(m.former, k)
}

func (m *memory) key(p pull) uint64 {
	if m.seed == nil {
		seed := maphash.MakeSeed()
		m.seed = &seed
	}
	return maphash.String(*m.seed, p.repository+"@"+p.digest.String())
}
