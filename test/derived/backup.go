package derived

import (
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
)

// backup is a copy of the whole tree, and what is known about it.
type backup struct {
	files   map[string][]byte
	times   map[string]time.Time
	ledgers []load.Backup
	tags    []map[digest.Digest]digest.Digest
}

// back makes a backup. The first one is kept for a while.
func (w *world) back() error {
	if w.backup != nil && w.rng.IntN(2) == 0 {
		return nil
	}
	if err := w.tellAll(); err != nil {
		return err
	}
	b := &backup{}
	var err error
	if b.files, err = w.site.tree().read(w.t.Context(), layout.Root); err != nil {
		return err
	}
	if b.times, err = w.site.tree().times(layout.Root); err != nil {
		return err
	}
	// Links whose manifests are gone are not in it: docs/reliability.md, "Known limitations".
	for path := range b.files {
		for _, r := range w.repos {
			if _, d, ok := layout.ParseReferrer(r.Name, path); ok && b.files[layout.RevisionLink(r.Name, d)] == nil {
				delete(b.files, path)
			}
		}
	}
	for _, r := range w.repos {
		b.ledgers = append(b.ledgers, r.Ledger.Backup())
		b.tags = append(b.tags, maps.Clone(r.tags))
	}
	w.backup = b
	w.say("%d files", len(b.files))
	return nil
}

// restore copies the backup over the tree, with its times, while the registries
// serve or are stopped. Content that was pushed since stays.
func (w *world) restore() error {
	b := w.backup
	if b == nil {
		return w.back()
	}
	if err := w.tellAll(); err != nil {
		return err
	}
	stopped := w.rng.IntN(3) == 0
	w.say("while stopped: %t", stopped)
	if stopped {
		if err := w.endAll(); err != nil {
			return err
		}
	}
	if err := w.site.tree().write(w.t.Context(), b.files); err != nil {
		return err
	}
	if err := w.site.tree().setTimes(b.times); err != nil {
		return err
	}
	for i, r := range w.repos {
		r.Ledger.Restore(b.ledgers[i], func(subject, d digest.Digest) bool {
			return b.files[layout.ReferrerLink(r.Name, subject, d)] != nil
		})
		maps.Copy(r.tags, b.tags[i])
		for _, m := range r.Ledger.Present() {
			if !r.knows(m) {
				r.pool = append(r.pool, m)
			}
		}
	}
	if w.reordered = true; stopped {
		w.startAll()
	}
	return nil
}

func isSubject(r *repo, d digest.Digest) bool {
	return slices.Contains(harness.Digests(r.Subjects), d)
}

// revisions are the manifests that the storage has of a repository.
func (w *world) revisions(r *repo) (map[digest.Digest]bool, error) {
	files, err := w.site.tree().read(w.t.Context(), layout.Revisions(r.Name))
	found := map[digest.Digest]bool{}
	for path := range files {
		if d, ok := layout.ParseRevision(r.Name, path); ok {
			found[d] = true
		}
	}
	return found, err
}
