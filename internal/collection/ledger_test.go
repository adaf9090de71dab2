//go:build !race

package collection_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// ledger is what clients have been told, and what therefore has to be in the storage.
type ledger struct {
	driver storagedriver.StorageDriver
	now    func() time.Duration

	mu       sync.Mutex
	entries  map[entry]*promise // nil for ever
	added    bool               // since the last check
	failures []error
}

// entry is a manifest in a repository, as a tag or by its digest.
type entry struct {
	repository string
	manifest   *object
	tag        string
}

// promise is that of a replica that what was used is there. It holds for an hour, and ends
// if the process dies, or if its lease runs out.
type promise struct {
	process *process
	gaps    int
	until   time.Duration
}

func (p *promise) holds(now time.Duration) bool {
	return p == nil || !p.process.isOver() && p.process.replica.Gaps() == p.gaps && now < p.until
}

// add records that a push was acknowledged, and for how long that counts.
func (l *ledger) add(e entry, p *promise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[e] = p
	l.added = true
}

// drop records that a user is about to delete a manifest.
func (l *ledger) drop(repository string, m *object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range l.entries {
		if e.repository == repository && e.manifest == m {
			delete(l.entries, e)
		}
	}
}

func (l *ledger) fail(format string, arguments ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Errorf(format, arguments...))
}

// check fails if something is not there as it has to be, or not as clients expect.
func (l *ledger) check(removed bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) > 0 {
		return l.failures[0]
	}
	if !removed && !l.added {
		return nil
	}
	l.added = false
	for e, p := range l.entries {
		if !p.holds(l.now()) {
			delete(l.entries, e)
			continue
		}
		if err := l.isReadable(e); err != nil {
			return fmt.Errorf("%s:%s %s was acknowledged: %w", e.repository, e.tag, e.manifest.content, err)
		}
	}
	return nil
}

func (l *ledger) isReadable(e entry) error {
	if e.tag != "" {
		if err := l.leads(layout.TagCurrent(e.repository, e.tag), e.manifest.digest); err != nil {
			return err
		}
	}
	return l.manifest(e.repository, e.manifest)
}

func (l *ledger) manifest(repository string, m *object) error {
	if err := l.leads(layout.RevisionLink(repository, m.digest), m.digest); err != nil {
		return err
	}
	if err := l.bytes(m.digest, m.content); err != nil {
		return err
	}
	if m.subject != nil {
		if err := l.leads(layout.ReferrerLink(repository, m.subject.digest, m.digest), m.digest); err != nil {
			return err
		}
	}
	for _, b := range m.blobs {
		stored := digest.FromBytes(b.content)
		if err := l.leads(layout.LayerLink(repository, b.digest), stored); err != nil {
			return err
		}
		if err := l.bytes(stored, b.content); err != nil {
			return err
		}
	}
	for _, child := range m.manifests {
		if err := l.manifest(repository, child); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) leads(link string, d digest.Digest) error {
	content, err := l.driver.GetContent(context.Background(), link)
	if err == nil && string(content) != string(d) {
		err = fmt.Errorf("%s contains %s", link, content)
	}
	return err
}

func (l *ledger) bytes(d digest.Digest, want []byte) error {
	content, err := l.driver.GetContent(context.Background(), layout.BlobData(d))
	if err == nil && !bytes.Equal(content, want) {
		err = fmt.Errorf("blob %s contains %q", d, content)
	}
	return err
}

// forget drops what holds for a while only.
func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.entries, func(_ entry, p *promise) bool { return p != nil })
}

// all are the entries.
func (l *ledger) all() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Keys(l.entries), func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.repository, b.repository), cmp.Compare(a.manifest.digest, b.manifest.digest), cmp.Compare(a.tag, b.tag))
	})
}
