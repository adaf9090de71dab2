// Package load puts registries under load and records what they have acknowledged. It is
// for tests only.
package load

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Moment is a position in the order of the events in a Ledger.
type Moment int

// Ledger records what was pushed to and deleted from one repository, and so knows what a
// listing must contain. Its methods may be called from many goroutines, but each manifest
// is pushed and deleted by only one of them.
type Ledger struct {
	mu      sync.Mutex
	now     Moment
	entries map[digest.Digest]*entry
	counts  Counts
}

// Counts counts the events in a Ledger.
type Counts struct {
	// Pushes and Deletes are how many were acknowledged, Listings how many answers
	// were checked, with how many Entries in all.
	Pushes, Deletes, Listings, Entries int
}

// entry is the history of one manifest: the moments at which its requests were sent and
// acknowledged, 0 for events that have not happened.
type entry struct {
	manifest                           harness.Manifest
	pushing, pushed, deleting, deleted Moment
}

// String says what has happened to the manifest.
func (e *entry) String() string {
	if e == nil {
		return "unknown"
	}
	return fmt.Sprintf("%s: pushed from %d to %d, deleted from %d to %d", e.manifest.ContentType, e.pushing, e.pushed, e.deleting, e.deleted)
}

// NewLedger makes an empty Ledger.
func NewLedger() *Ledger { return &Ledger{entries: map[digest.Digest]*entry{}} }

// Now is the present moment.
func (l *Ledger) Now() Moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Counts counts the events so far.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Pushing says that a manifest is about to be pushed, which replaces its earlier
// history.
func (l *Ledger) Pushing(m harness.Manifest) {
	l.tell(func() { l.entries[m.Digest()] = &entry{manifest: m, pushing: l.now} })
}

// Pushed says that the push was acknowledged.
func (l *Ledger) Pushed(d digest.Digest) {
	l.tell(func() { l.entries[d].pushed, l.counts.Pushes = l.now, l.counts.Pushes+1 })
}

// Deleting says that a manifest is about to be deleted.
func (l *Ledger) Deleting(d digest.Digest) {
	l.tell(func() { l.entries[d].deleting = l.now })
}

// Deleted says that the deletion was acknowledged.
func (l *Ledger) Deleted(d digest.Digest) {
	l.tell(func() { l.entries[d].deleted, l.counts.Deletes = l.now, l.counts.Deletes+1 })
}

func (l *Ledger) tell(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now++
	change()
}

// Unanswered are the manifests whose last request may or may not have been carried out:
// pushes and deletions.
func (l *Ledger) Unanswered() (pushes, deletes []harness.Manifest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range slices.Sorted(maps.Keys(l.entries)) {
		switch e := l.entries[d]; {
		case e.pushed == 0:
			pushes = append(pushes, e.manifest)
		case e.deleting > 0 && e.deleted == 0:
			deletes = append(deletes, e.manifest)
		}
	}
	return pushes, deletes
}

// Present are the manifests that must exist.
func (l *Ledger) Present() (list []harness.Manifest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range slices.Sorted(maps.Keys(l.entries)) {
		if e := l.entries[d]; e.pushed > 0 && e.deleting == 0 {
			list = append(list, e.manifest)
		}
	}
	return list
}

// Check compares a listing of subject, which was requested at a moment and is complete
// now, with what the registry has acknowledged.
func (l *Ledger) Check(route harness.Route, subject digest.Digest, asked Moment, listed []digest.Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Listings++
	l.counts.Entries += len(listed)
	var errs []error
	complain := func(d digest.Digest, what string) {
		if len(errs) < 5 {
			errs = append(errs, fmt.Errorf("the %s listing of %s, asked for at %d: %s is %s (%s)", route.Name, subject, asked, d, what, l.entries[d]))
		}
	}
	times := map[digest.Digest]int{}
	for _, d := range listed {
		times[d]++
	}
	for d, n := range times {
		e := l.entries[d]
		switch {
		case n > 1:
			complain(d, fmt.Sprintf("listed %d times", n))
		case e == nil || e.manifest.Subject.Digest != subject:
			complain(d, "listed, but nobody has pushed it")
		case e.deleted > 0 && e.deleted <= asked:
			complain(d, "listed, though deleted before")
		}
	}
	for d, e := range l.entries {
		due := e.pushed > 0 && e.pushed <= asked && e.deleting == 0 &&
			e.manifest.Subject.Digest == subject && lists(route, e.manifest)
		if due && times[d] == 0 {
			complain(d, "missing")
		}
	}
	return errors.Join(errs...)
}

// lists reports whether a route lists manifests of that kind.
func lists(route harness.Route, m harness.Manifest) bool {
	return route.Name == harness.OCI.Name || m.ContentType == harness.MediaTypeORASArtifact
}
