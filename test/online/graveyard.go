package online

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// blob is the content of a config or layer, pushed by one of its digests.
type blob struct {
	data []byte
	desc harness.Descriptor

	// Guarded by the graveyard.
	used  time.Time
	holds map[string]bool // the repositories that may have it
}

// graveyard has all blobs that may be garbage: clients dig there for what they push again.
type graveyard struct {
	mu     sync.Mutex
	blobs  []*blob // the most recent ones
	number int
}

// buried is how many blobs are remembered.
const buried = 2000

func newGraveyard() *graveyard { return &graveyard{} }

// fresh makes a blob that was never pushed. Every fifth has a sha512 digest.
func (g *graveyard) fresh(mediaType string) *blob {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.number++
	b := &blob{data: fmt.Appendf(nil, `{"number": %d, "random": %d}`, g.number, rand.Uint64()), holds: map[string]bool{}}
	b.desc = harness.BlobDescriptor(b.data)
	if g.number%5 == 0 {
		b.desc.Digest = digest.SHA512.FromBytes(b.data)
	}
	b.desc.MediaType = mediaType
	if g.blobs = append(g.blobs, b); len(g.blobs) > buried {
		g.blobs = slices.Delete(g.blobs, 0, buried/10)
	}
	return b
}

// touch says that a blob is used in a repository.
func (g *graveyard) touch(repository string, b *blob) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.used = time.Now()
	b.holds[repository] = true
}

// dig finds a blob that was used before a moment, preferably not long before: no
// collection has had the time to remove it.
func (g *graveyard) dig(before time.Time) *blob {
	g.mu.Lock()
	defer g.mu.Unlock()
	var found *blob
	for range 20 {
		if len(g.blobs) == 0 {
			return nil
		}
		b := g.blobs[rand.IntN(len(g.blobs))]
		switch {
		case found == nil:
			found = b
		case found.used.After(before) && b.used.Before(before), b.used.Before(before) && b.used.After(found.used):
			found = b
		}
	}
	return found
}

// elsewhere is another repository that may have a blob, or empty.
func (g *graveyard) elsewhere(repository string, b *blob) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range b.holds {
		if name != repository {
			return name
		}
	}
	return ""
}
