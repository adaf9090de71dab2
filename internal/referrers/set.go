package referrers

import (
	"context"
	"slices"

	"github.com/maypok86/otter/v2"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// Set is the referrers of one subject at one moment. It never changes, so
// whatever is made from it can be kept with it.
type Set struct {
	// Referrers are in no particular order.
	Referrers []*Referrer

	index   *Index
	entries []entry     // what was in the subject's folder, in the order of the driver
	again   []*Referrer // listed, but asked for their revision every time
	pending bool        // an entry may be listed next time
	weight  uint32
	listed  int // about how many bytes a listing of all of it has
	memos
}

// entry is one link to a subject, of a referrer that is listed or of a manifest that
// is not.
type entry struct {
	*Referrer
	*absence
	unlinked bool // it is listed although its link may not be written
}

// absence is a manifest that is linked and not listed.
type absence struct {
	digest digest.Digest
	reason error
	final  bool // it will never be listed for this subject
}

func (e entry) hex() string {
	if e.Referrer != nil {
		return e.Referrer.Digest.Encoded()
	}
	return e.absence.digest.Encoded()
}

// settled reports whether the entry stays as it is as long as its link is there.
func (e entry) settled() bool {
	if e.Referrer != nil {
		return e.Referrer.Subject != "" && !e.unlinked
	}
	return e.absence != nil && e.absence.final
}

// What a set takes in memory beside its referrers: each entry with the pointer
// in Referrers, an absence, and the most that is set aside for memos, in bytes.
const (
	setWeight     = 768
	entryWeight   = 32
	absenceWeight = 160
	maxRoom       = 8 << 20
)

func newSet(x *Index, entries []entry) *Set {
	s := &Set{index: x, entries: entries, Referrers: make([]*Referrer, 0, len(entries))}
	weight, abridged := setWeight, 0
	for _, e := range entries {
		weight += entryWeight
		if e.Referrer == nil {
			weight += absenceWeight
			s.pending = s.pending || !e.absence.final
			continue
		}
		weight += e.Referrer.weight()
		s.listed += referrerWeight + len(e.Referrer.ArtifactType) + e.Referrer.AnnotationsSize
		abridged += e.Referrer.AnnotationsSize - len(e.Referrer.Annotations)
		s.Referrers = append(s.Referrers, e.Referrer)
		if !e.settled() {
			s.again = append(s.again, e.Referrer)
		}
	}
	s.room = min(2*(weight+abridged), maxRoom)
	s.weight = uint32(min(weight+s.room, 1<<31))
	return s
}

// Without is the set without some referrers.
func (s *Set) Without(gone []digest.Digest) *Set {
	if len(gone) == 0 {
		return s
	}
	out := make(map[digest.Digest]bool, len(gone))
	for _, d := range gone {
		out[d] = true
	}
	left := slices.DeleteFunc(slices.Clone(s.Referrers), func(r *Referrer) bool { return out[r.Digest] })
	if len(left) == len(s.Referrers) {
		return s
	}
	return &Set{Referrers: left, index: s.index, listed: s.listed}
}

// isOf reports whether the set is what these links say, and nothing of it has to
// be asked for. They are the names in the folder, mostly in the order of the last time.
func (s *Set) isOf(links []string) bool {
	return !s.pending && slices.EqualFunc(links, s.entries, func(link string, e entry) bool { return link == e.hex() })
}

// unsee forgets that this process has seen a manifest linked to a subject. What it knows
// of the others stays, so that their next listing costs no more than without a delete.
func (x *Index) unsee(key setKey, manifest digest.Digest) {
	x.sets.ComputeIfPresent(key, func(known *Set) (*Set, otter.ComputeOp) {
		hex := manifest.Encoded()
		left := slices.DeleteFunc(slices.Clone(known.entries), func(e entry) bool { return e.hex() == hex })
		if len(left) == 0 {
			return nil, otter.InvalidateOp
		}
		return newSet(x, left), otter.WriteOp
	})
}

// byName is the entries by the hex digits of their digests.
func (s *Set) byName() map[string]entry {
	if s == nil {
		return nil
	}
	names := make(map[string]entry, len(s.entries))
	for _, e := range s.entries {
		names[e.hex()] = e
	}
	return names
}

// Annotated returns the referrers with their annotations, reading those that are
// not kept in memory, without those that are too large to be listed. A manifest
// that was deleted meanwhile has none.
func (s *Set) Annotated(ctx context.Context, list []*Referrer) ([]*Referrer, error) {
	full := slices.Clone(list)
	var abridged []**Referrer
	for i, r := range full {
		if r.Abridged() {
			abridged = append(abridged, &full[i])
		}
	}
	return full, forEach(ctx, s.index.options.Concurrency, abridged, func(ctx context.Context, i int) error {
		annotated := **abridged[i]
		err := s.index.reader.Manifest(ctx, annotated.Digest, func(content []byte) error {
			m, err := s.index.options.Types.Describe(content)
			if err != nil {
				return err
			}
			annotated.Annotations, err = annotationsOf(m)
			*abridged[i] = &annotated
			return err
		})
		if layout.IsBroken(err) {
			return nil
		}
		return err
	})
}
