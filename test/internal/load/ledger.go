// Package load puts registries under load and keeps account of what they have
// promised. It is for tests only.
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

// Moment is a position in the order of what a Ledger has been told.
type Moment int

// Ledger knows what was pushed to and deleted from one repository, and so what a
// listing has to say. Its methods may be called from many goroutines, but one
// manifest is pushed and deleted by one goroutine alone.
type Ledger struct {
	mu      sync.Mutex
	now     Moment
	entries map[digest.Digest]*entry
	counts  Counts
}

// Counts is how much a Ledger has been told.
type Counts struct {
	// Pushes and Deletes are how many were acknowledged, Listings how many answers
	// were checked, with how many Entries in all.
	Pushes, Deletes, Listings, Entries int
}

// entry is the fate of one manifest: the moments at which it was sent and
// acknowledged, 0 for what has not happened.
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

// Counts is how much the Ledger has been told so far.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Pushing says that a manifest is about to be sent; what happened to it before
// does not count any more.
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

// Unanswered are the manifests of which it is not known whether the last request
// for them was carried out: pushes and deletions.
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

// Present are the manifests that have to be there.
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

// Check holds the answer of a listing of subject, which was asked for at a
// moment and is complete now, against what the registry has promised.
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
