// Package load puts registries under load and records what they have acknowledged. It is
// for tests only.
package load

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Moment is a position in the order of the events in a Ledger.
type Moment int

// Ledger knows what was pushed to and deleted from one repository, and so what a
// listing has to say. Its methods may be called from many goroutines, but one
// manifest is pushed and deleted by one goroutine alone. The methods in restore.go
// tell it what became of the storage otherwise.
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
	// refers has the subjects that list it while it is there: those that have to,
	// and, with false, those that may.
	refers map[digest.Digest]bool
}

// String says what has happened to the manifest.
func (e *entry) String() string {
	if e == nil {
		return "unknown"
	}
	return fmt.Sprintf("%s: pushed from %d to %d, deleted from %d to %d", e.manifest.ContentType, e.pushing, e.pushed, e.deleting, e.deleted)
}

// present reports whether the manifest has to be there.
func (e *entry) present() bool { return e.pushed > 0 && e.deleting == 0 }

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
	l.tell(func() {
		e := &entry{manifest: m, pushing: l.now, refers: map[digest.Digest]bool{}}
		if before := l.entries[m.Digest()]; before != nil {
			e.refers = before.refers
		}
		if m.Subject != nil {
			e.refers[m.Subject.Digest] = true
		}
		l.entries[m.Digest()] = e
	})
}

// Pushed says that the push was acknowledged.
func (l *Ledger) Pushed(d digest.Digest) {
	l.tell(func() { l.entries[d].pushed, l.counts.Pushes = l.now, l.counts.Pushes+1 })
}

// Deleting says that a manifest is about to be deleted. What others have attached
// it to may list it or not, if it is pushed again.
func (l *Ledger) Deleting(d digest.Digest) {
	l.tell(func() {
		e := l.entries[d]
		e.deleting = l.now
		for subject := range e.refers {
			e.refers[subject] = e.manifest.Subject != nil && e.manifest.Subject.Digest == subject
		}
	})
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
		if e := l.entries[d]; e.present() {
			list = append(list, e.manifest)
		}
	}
	return list
}

// Check compares the answer of a listing of subject, which was asked for at a
// moment and is complete now, with what the registry has promised.
func (l *Ledger) Check(route harness.Route, subject digest.Digest, asked Moment, listed []harness.Descriptor) error {
	return l.CheckType(route, subject, "", asked, listed)
}

// CheckType is Check for a listing of one artifactType, or of all if it is empty.
func (l *Ledger) CheckType(route harness.Route, subject digest.Digest, artifactType string, asked Moment, listed []harness.Descriptor) error {
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
	for _, desc := range listed {
		d := desc.Digest
		e := l.entries[d]
		times[d]++
		switch {
		case times[d] > 1:
			complain(d, fmt.Sprintf("listed %d times", times[d]))
		case e == nil || !lists(route, artifactType, e.manifest):
			complain(d, "listed, but was never pushed, or as something else")
		case !e.refersTo(subject):
			complain(d, "listed, but does not refer to it")
		case e.deleted > 0 && e.deleted <= asked:
			complain(d, "listed, though deleted before")
		case !reflect.DeepEqual(desc, e.manifest.Listed()):
			complain(d, fmt.Sprintf("listed as %+v instead of %+v", desc, e.manifest.Listed()))
		}
	}
	for d, e := range l.entries {
		if e.present() && e.pushed <= asked && e.refers[subject] && lists(route, artifactType, e.manifest) && times[d] == 0 {
			complain(d, "missing")
		}
	}
	return errors.Join(errs...)
}

// refersTo reports whether the subject may list the manifest while it is there.
func (e *entry) refersTo(subject digest.Digest) bool {
	_, ok := e.refers[subject]
	return ok
}

// lists reports whether a route lists manifests of that kind, and, unless it is
// empty, of that artifactType.
func lists(route harness.Route, artifactType string, m harness.Manifest) bool {
	return (route.Name == harness.OCI.Name || m.ContentType == harness.MediaTypeORASArtifact) &&
		(artifactType == "" || m.Listed().ArtifactType == artifactType)
}
