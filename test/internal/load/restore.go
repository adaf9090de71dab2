package load

import (
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Has reports whether a manifest must exist.
func (l *Ledger) Has(d digest.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[d]
	return e != nil && e.present()
}

// Attached says that a manifest is a referrer of a subject that it does not name itself,
// because a referrers tag lists it.
func (l *Ledger) Attached(d, subject digest.Digest) {
	l.tell(func() { l.entries[d].refers[subject] = true })
}

// Doubtful says that a subject may list a manifest, as when a referrers tag has
// listed it once.
func (l *Ledger) Doubtful(d, subject digest.Digest) {
	l.tell(func() {
		if e := l.entries[d]; !e.refersTo(subject) {
			e.refers[subject] = false
		}
	})
}

// Settled says that a registry that may write has listed manifests: they are
// linked from then on.
func (l *Ledger) Settled(subject digest.Digest, listed []harness.Descriptor) {
	l.tell(func() {
		for _, d := range listed {
			l.entries[d.Digest].refers[subject] = true
		}
	})
}

// Linked says that all manifests are linked to the subject that they name.
func (l *Ledger) Linked() {
	l.tell(func() {
		for _, e := range l.entries {
			if e.manifest.Subject != nil {
				e.refers[e.manifest.Subject.Digest] = true
			}
		}
	})
}

// Referrers are the manifests that must exist and be listed for a subject, and those that
// may be listed.
func (l *Ledger) Referrers(subject digest.Digest) (due, doubtful []harness.Manifest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range slices.Sorted(maps.Keys(l.entries)) {
		switch e := l.entries[d]; {
		case !e.present() || !e.refersTo(subject):
		case e.refers[subject]:
			due = append(due, e.manifest)
		default:
			doubtful = append(doubtful, e.manifest)
		}
	}
	return due, doubtful
}

// Backup is the content of a repository in a backup of the storage.
type Backup map[digest.Digest]entry

// Backup is taken while nothing is pushed or deleted.
func (l *Ledger) Backup() Backup {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := Backup{}
	for d, e := range l.entries {
		if e.present() {
			b[d] = entry{manifest: e.manifest, refers: maps.Clone(e.refers)}
		}
	}
	return b
}

// Restore says that a backup was copied over the storage: what was deleted since
// is there again, and what came since stays. What linked does not report as linked
// in the backup may be listed or not.
func (l *Ledger) Restore(b Backup, linked func(subject, d digest.Digest) bool) {
	l.tell(func() {
		for d, saved := range b {
			e := l.entries[d]
			back := !e.present()
			if back {
				*e = entry{manifest: saved.manifest, pushing: l.now, pushed: l.now, refers: e.refers}
			}
			for subject := range saved.refers {
				switch {
				case linked(subject, d):
					e.refers[subject] = true
				case back:
					e.refers[subject] = false
				}
			}
		}
	})
}
