package referrers

import "sync"

// readiness is which repositories are ready, and which of their manifests this
// process still has to ask for. What it keeps is counted.
type readiness struct {
	limit int // bytes

	mu    sync.Mutex
	size  int
	repos map[string]*unseen
}

// repositoryWeight is about what a repository takes beside its name and pairs.
const repositoryWeight = 160

func weightOf(name string, u *unseen) int { return repositoryWeight + len(name) + u.size() }

// has reports whether a repository is ready.
func (y *readiness) has(name string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	_, ok := y.repos[name]
	return ok
}

// hasRoomFor reports whether so many more pairs can be kept.
func (y *readiness) hasRoomFor(pairs int) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.size+pairs*pairSize <= y.limit
}

// keep makes a repository ready. Where there is no room, others are forgotten of
// which nothing else is known: making them ready again costs two operations.
func (y *readiness) keep(name string, u *unseen) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.repos == nil {
		y.repos = map[string]*unseen{}
	}
	y.drop(name)
	y.repos[name] = u
	y.size += weightOf(name, u)
	for other, o := range y.repos {
		if y.size <= y.limit {
			return
		}
		if other != name && o.size() == 0 {
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
	if u, ok := y.repos[name]; ok {
		y.size -= weightOf(name, u)
		delete(y.repos, name)
	}
}

// unseen is what has to be asked for when the subject is listed.
func (y *readiness) unseen(key setKey) pairs {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.repos[key.repository].of(key.subject)
}

// all is what has to be asked for of all subjects of a repository.
func (y *readiness) all(name string) pairs {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.repos[name].all()
}

// seen notes that all of a subject's manifests have been asked for.
func (y *readiness) seen(key setKey) {
	y.mu.Lock()
	defer y.mu.Unlock()
	u := y.repos[key.repository]
	before := u.size()
	u.seen(key.subject)
	y.size -= before - u.size()
}
