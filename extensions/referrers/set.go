package referrers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/manifest"
)

// Referrer is what a listing says of one manifest, read from its bytes.
type Referrer struct {
	Digest       digest.Digest
	MediaType    string
	ArtifactType string
	Size         int64
	// Annotations is the JSON object of the manifest's annotations, nil if it has
	// none or more than may be listed.
	Annotations json.RawMessage
	// ORASCreated and OCICreated are the times in the annotations of that name, the
	// zero time where there is none.
	ORASCreated, OCICreated time.Time
	// Pushed is when the manifest was pushed first, as the storage driver knows it
	// for its bytes. It is only looked up where the manifest does not say when it
	// was created.
	Pushed time.Time
}

// Set is the referrers of one subject at one moment. It never changes, so
// whatever is made from it can be kept with it.
type Set struct {
	// Referrers are sorted by digest.
	Referrers []*Referrer

	version version                 // of the folder that it was read from
	refused map[digest.Digest]error // will never be a referrer of this subject
	pending map[digest.Digest]error // cannot be pulled at the moment
	weight  uint32
	mu      sync.Mutex
	memo    map[any]any
	room    int
}

// What one entry takes in memory beside its annotations, and the most that is
// set aside for what is made from a set, in bytes.
const (
	entryWeight = 320
	maxRoom     = 8 << 20
)

func newSet(list []*Referrer, refused, pending map[digest.Digest]error) *Set {
	slices.SortFunc(list, func(a, b *Referrer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	weight := 512 + 128*(len(refused)+len(pending))
	for _, r := range list {
		weight += entryWeight + len(r.Annotations)
	}
	// The order of each view has its place among the entries; pages have room of
	// their own.
	s := &Set{Referrers: list, refused: refused, pending: pending, room: min(2*weight, maxRoom)}
	s.weight = uint32(min(weight+s.room, 1<<31))
	return s
}

// Memo returns what make returned for key before, or what it returns now. The
// size, in bytes, that make returns decides whether there is room to keep it.
func (s *Set) Memo(key any, make func() (value any, size int)) any {
	s.mu.Lock()
	value, ok := s.memo[key]
	s.mu.Unlock()
	if ok {
		return value
	}
	value, size := make()
	s.mu.Lock()
	defer s.mu.Unlock()
	if size <= s.room {
		if s.memo == nil {
			s.memo = map[any]any{}
		}
		if _, twice := s.memo[key]; !twice {
			s.memo[key], s.room = value, s.room-size
		}
	}
	return value
}

// is reports whether the set is what the links say: the hex digits of the
// referrers' digests in ascending order.
func (s *Set) is(links []string) bool {
	if len(s.pending) > 0 || len(links) != len(s.Referrers)+len(s.refused) {
		return false
	}
	i := 0
	for _, hex := range links {
		if i < len(s.Referrers) && s.Referrers[i].Digest.Encoded() == hex {
			i++
		} else if _, ok := s.refused[digest.NewDigestFromEncoded(digest.Canonical, hex)]; !ok {
			return false
		}
	}
	return true
}

// describe reads a referrer from a manifest's bytes. The error says why those
// are no referrer of subject, and is final, for the bytes cannot change.
func describe(d, subject digest.Digest, content []byte, maxAnnotations int) (*Referrer, error) {
	m, err := manifest.Parse(content)
	if err != nil {
		return nil, err
	}
	// A manifest without a subject is attached by a referrers-tag index.
	if m.Subject != nil && m.Subject.Digest != subject {
		return nil, fmt.Errorf("its subject is %s", m.Subject.Digest)
	}
	r := &Referrer{
		Digest:       d,
		MediaType:    intern(m.MediaType),
		ArtifactType: intern(m.ArtifactType),
		Size:         int64(len(content)),
		ORASCreated:  m.Created(manifest.AnnotationORASCreated),
		OCICreated:   m.Created(manifest.AnnotationOCICreated),
	}
	if len(m.Annotations) > 0 {
		text, err := json.Marshal(m.Annotations)
		if err != nil {
			return nil, err
		}
		if len(text) <= maxAnnotations {
			r.Annotations = text
		}
	}
	if len(r.ArtifactType) > maxAnnotations {
		r.ArtifactType = ""
	}
	return r, nil
}

// dated reports whether the manifest says itself when it was created.
func (r *Referrer) dated() bool { return !r.OCICreated.IsZero() || !r.ORASCreated.IsZero() }

// intern gives texts that many manifests share one place in memory.
func intern(text string) string { return unique.Make(text).Value() }
