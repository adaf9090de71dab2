package gc

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/opencontainers/go-digest"
)

// id stands for a digest in the memory of one run.
type id uint32

// digests gives each digest a small number, and stores what is known about it across
// all repositories. A digest takes 110 to 150 bytes, so that millions fit into memory.
// Its methods may be called from many goroutines.
type digests struct {
	mu      sync.Mutex
	ids     map[[sha256.Size]byte]id
	entries [][]entry // chunks, so that growing never copies
	count   int

	// Digests of other algorithms, of which there are few.
	otherIDs map[digest.Digest]id
	others   map[id]digest.Digest
}

type entry struct {
	sum  [sha256.Size]byte
	size int64 // in bytes; unknown: not known
	kept bool  // some repository keeps it
}

const (
	unknown = -1
	chunk   = 4096
)

func newDigests() *digests {
	return &digests{
		ids:      map[[sha256.Size]byte]id{},
		otherIDs: map[digest.Digest]id{},
		others:   map[id]digest.Digest{},
	}
}

// id is the number of a valid digest.
func (t *digests) id(d digest.Digest) id {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.locked(d)
}

// sized records the size of content in bytes.
func (t *digests) sized(d digest.Digest, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(t.locked(d)).size = size
}

// stated is id, and records the size in bytes that a manifest states, unless one is
// known.
func (t *digests) stated(d digest.Digest, size int64) id {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.locked(d)
	if e := t.at(n); e.size == unknown && size > 0 {
		e.size = size
	}
	return n
}

func (t *digests) locked(d digest.Digest) id {
	next := id(t.count)
	var sum [sha256.Size]byte
	if d.Algorithm() == digest.SHA256 {
		_, _ = hex.Decode(sum[:], []byte(d.Encoded())) // it is valid
		if n, ok := t.ids[sum]; ok {
			return n
		}
		t.ids[sum] = next
	} else {
		if n, ok := t.otherIDs[d]; ok {
			return n
		}
		t.otherIDs[d], t.others[next] = next, d
	}
	if t.count%chunk == 0 {
		t.entries = append(t.entries, make([]entry, chunk))
	}
	t.count++
	*t.at(next) = entry{sum: sum, size: unknown}
	return next
}

func (t *digests) at(n id) *entry { return &t.entries[n/chunk][n%chunk] }

// digest is the digest that n stands for.
func (t *digests) digest(n id) digest.Digest {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.others[n]; ok {
		return d
	}
	return digest.NewDigestFromBytes(digest.SHA256, t.at(n).sum[:])
}

// isCanonical reports whether n stands for a digest of the canonical algorithm.
func (t *digests) isCanonical(n id) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, other := t.others[n]
	return !other
}

// keep records that a repository keeps content.
func (t *digests) keep(n id) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(n).kept = true
}

// keepAll records that a repository keeps all of a set.
func (t *digests) keepAll(set map[id]struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range set {
		t.at(n).kept = true
	}
}

// look returns what is known about n.
func (t *digests) look(n id) (size int64, kept bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.at(n)
	return e.size, e.kept
}

// size is the known size of the content of n in bytes, 0 if it is not known.
func (t *digests) size(n id) int64 {
	size, _ := t.look(n)
	return max(size, 0)
}
