package referrers

import "sync"

// readiness is which repositories are ready, and which of their manifests this
// process still has to ask for. What it keeps is counted.
type readiness struct {
	limit int // bytes

	mu    sync.Mutex
	size  int
	ready map[string]*unseen // by repository
}

// repositoryWeight is about what a repository takes beside its name and pairs.
const repositoryWeight = 96

// has reports whether a repository is ready.
func (y *readiness) has(name string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	_, ready := y.ready[name]
	return ready
}

// hasRoomFor reports whether so many more pairs can be kept.
func (y *readiness) hasRoomFor(pairs int) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.size+pairs*pairSize <= y.limit
}

// keep makes a repository ready. Where there is no room, others are forgotten of
// which nothing has to be asked for: making them ready again costs three operations.
func (y *readiness) keep(name string, u *unseen) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.drop(name)
	y.ready[name] = u
	y.size += repositoryWeight + len(name) + u.size()
	for other, u := range y.ready {
		if y.size <= y.limit {
			return
		}
		if other != name && u.size() == 0 {
			y.drop(other)
		}
	}
}

// forget makes a repository unready.
func (y *readiness) forget(name string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.drop(name)
}

// drop forgets a repository; the caller holds the lock.
func (y *readiness) drop(name string) {
	if u, ready := y.ready[name]; ready {
		y.size -= repositoryWeight + len(name) + u.size()
		delete(y.ready, name)
	}
}

// unseen is what has to be asked for when the subject is listed.
func (y *readiness) unseen(key setKey) pairs {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.ready[key.repository].of(key.subject)
}

// all is what has to be asked for of all subjects of a repository.
func (y *readiness) all(name string) pairs {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.ready[name].all()
}

// seen notes that all of a subject's manifests have been asked for.
func (y *readiness) seen(key setKey) {
	y.mu.Lock()
	defer y.mu.Unlock()
	u := y.ready[key.repository]
	y.size -= u.size()
	u.seen(key.subject)
	y.size += u.size()
}
