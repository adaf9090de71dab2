package online

import (
	"slices"
	"sync"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// image is a manifest in a repository, with all that it needs.
type image struct {
	repository string
	manifest   harness.Manifest
	blobs      []*blob
	children   []*image // of an index
	subject    *image   // of a referrer

	// For its client alone.
	tag       string
	referrers []*image // that have to be there while it is
	past      []*image // all that were ever pushed

	// Guarded by the ledger.
	live    bool
	version int // counts the changes of live
}

// ledger knows what was acknowledged and not deleted since. Only one client pushes and
// deletes an image.
type ledger struct {
	mu     sync.Mutex
	images map[*image]bool // that are live
}

func newLedger() *ledger { return &ledger{images: map[*image]bool{}} }

// acknowledged says that an image has to be there from now on.
func (l *ledger) acknowledged(i *image) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i.live = true
	i.version++
	l.images[i] = true
}

// changing says that an image and its referrers are about to be deleted, or may be.
func (l *ledger) changing(i *image) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, each := range append(slices.Clone(i.referrers), i) {
		each.live = false
		each.version++
		delete(l.images, each)
	}
}

// due is an image that had to be there at some moment.
type due struct {
	*image
	version int
}

// all are the images that have to be there.
func (l *ledger) all() (list []due) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.images {
		list = append(list, due{i, i.version})
	}
	return list
}

// still reports whether an image has had to be there ever since.
func (l *ledger) still(d due) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.live && d.image.version == d.version
}
