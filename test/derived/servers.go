package derived

import (
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// settings are those of the next start of a replica. The first one always writes.
func (w *world) settings(r *replica) settings {
	s := settings{readOnly: r.number > 0 && w.rng.IntN(4) == 0, smallCache: w.rng.IntN(3) == 0}
	s.readOnly = s.readOnly && !leftOut("read-only")
	s.smallCache = s.smallCache && !leftOut("small cache")
	return s
}

// again ends a replica and starts it with settings.
func (w *world) again(r *replica, s settings, kill bool) error {
	if kill {
		w.site.kill(r.number)
	} else if err := w.site.stop(r.number); err != nil {
		return err
	}
	r.settings = s
	r.client = w.site.start(r.number, s)
	return nil
}

func (w *world) restart() error {
	r := w.any()
	s := w.settings(r)
	w.say("%s becomes %s", r, &replica{number: r.number, settings: s})
	return w.again(r, s, false)
}

func (w *world) kill() error {
	r := w.any()
	s := w.settings(r)
	w.say("%s becomes %s", r, &replica{number: r.number, settings: s})
	return w.again(r, s, true)
}

// endAll ends all replicas: each of them is killed, or stopped at the same time as
// the others.
func (w *world) endAll() error {
	var group errgroup.Group
	for _, r := range w.replicas {
		if w.rng.IntN(4) == 0 && !leftOut("kill") {
			w.say("%s is killed", r)
			w.site.kill(r.number)
			continue
		}
		group.Go(func() error { return w.site.stop(r.number) })
		if leftOut("at once") {
			_ = group.Wait()
		}
	}
	return group.Wait()
}

// startAll starts all replicas. All find what is not linked to its subject.
func (w *world) startAll() {
	for _, r := range w.replicas {
		r.settings = w.settings(r)
		r.client = w.site.start(r.number, r.settings)
	}
	w.reordered = false
	w.say("now there are %v", w.replicas)
	for _, r := range w.repos {
		r.Ledger.Linked()
	}
}

func (w *world) restartAll() error {
	if err := w.endAll(); err != nil {
		return err
	}
	w.startAll()
	return nil
}

func (w *world) names() (names []string) {
	for _, r := range w.repos {
		names = append(names, r.Name)
	}
	return names
}

func (w *world) rebuild() error {
	if err := w.site.rebuild(w.t.Context(), w.names()); err != nil {
		return err
	}
	w.linked()
	return nil
}

func (w *world) repair() error {
	if err := w.site.repair(w.t.Context(), w.names()); err != nil {
		return err
	}
	w.linked()
	return nil
}

// linked says that all is linked that there is to link, tags included.
func (w *world) linked() {
	for _, r := range w.repos {
		r.Ledger.Linked()
		for subject := range r.tags {
			r.attach(subject)
		}
		clear(r.untold)
	}
}

// attach says that the referrers tag of a subject attaches to it what it lists.
func (r *repo) attach(subject digest.Digest) {
	for _, m := range r.lists[r.tags[subject]] {
		if m.Subject == nil && r.Ledger.Has(m.Digest()) {
			r.Ledger.Attached(m.Digest(), subject)
		}
	}
}

// collect collects garbage while all registries are stopped.
func (w *world) collect() error {
	if err := w.tellAll(); err != nil {
		return err
	}
	if err := w.endAll(); err != nil {
		return err
	}
	untagged := w.rng.IntN(3) == 0 && !leftOut("untagged")
	w.say("untagged: %t", untagged)
	if err := w.site.collect(w.t.Context(), untagged); err != nil {
		return err
	}
	if untagged {
		for _, r := range w.repos {
			if err := w.collected(r); err != nil {
				return err
			}
		}
	}
	w.startAll()
	return nil
}

// collected tells the ledger what goes that no tag needs. What may be a referrer
// or not, the storage has to tell.
func (w *world) collected(r *repo) error {
	stays, may := r.reachable(false), r.reachable(true)
	revisions, err := w.revisions(r)
	if err != nil {
		return err
	}
	for _, m := range r.Ledger.Present() {
		d := m.Digest()
		if !stays[d] && !(may[d] && revisions[d]) {
			r.Ledger.Deleting(d)
			r.Ledger.Deleted(d)
		}
	}
	return nil
}

// reachable are the manifests that a tag needs, also over what is doubtful.
func (r *repo) reachable(doubtful bool) map[digest.Digest]bool {
	found := map[digest.Digest]bool{}
	next := harness.Digests(r.Subjects)
	for _, index := range r.tags {
		next = append(next, index)
	}
	for len(next) > 0 {
		d := next[len(next)-1]
		next = next[:len(next)-1]
		if found[d] || !r.Ledger.Has(d) && !isSubject(r, d) {
			continue // what is not there has no referrers to keep
		}
		found[d] = true
		due, may := r.Ledger.Referrers(d)
		if doubtful {
			due = append(due, may...)
		}
		next = append(next, harness.Digests(descriptors(slices.Concat(r.lists[d], due)))...)
	}
	return found
}
