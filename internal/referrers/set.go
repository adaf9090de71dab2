package referrers

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

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

// entry is one link to a subject: to a referrer that is listed, or to a manifest
// that is not.
type entry struct {
	*Referrer
	*absence
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
		return e.Referrer.Subject != ""
	}
	return e.absence != nil && e.absence.final
}

// What a set takes in memory beside its referrers: each entry with the pointer
// in Referrers, an absence, and the most that is set aside for memos, in bytes.
const (
	setWeight     = 512
	entryWeight   = 24
	absenceWeight = 160
	maxRoom       = 8 << 20
)

func newSet(x *Index, entries []entry, unlinked []*Referrer) *Set {
	s := &Set{index: x, entries: entries, again: unlinked}
	s.Referrers = make([]*Referrer, 0, len(entries)+len(unlinked))
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
	for _, r := range unlinked {
		weight += entryWeight + r.weight()
		s.Referrers = append(s.Referrers, r)
	}
	s.room = min(2*(weight+abridged), maxRoom)
	s.weight = uint32(min(weight+s.room, 1<<31))
	return s
}

// isOf reports whether the set is what these links say, and nothing of it has to
// be asked for. The links are paths as List returns them, mostly in the order of
// the last time.
func (s *Set) isOf(links []string) bool {
	if s.pending || len(links) != len(s.entries) {
		return false
	}
	for i, link := range links {
		hex := s.entries[i].hex()
		if before, ok := strings.CutSuffix(link, hex); !ok || !strings.HasSuffix(before, "/") {
			return false
		}
	}
	return true
}

// byName is the entries by the hex digits of their digests.
func (s *Set) byName() map[string]entry {
	if s == nil {
		return nil
	}
	names := make(map[string]entry, len(s.entries)+len(s.again))
	for _, r := range s.again {
		names[r.Digest.Encoded()] = entry{Referrer: r}
	}
	for _, e := range s.entries {
		names[e.hex()] = e
	}
	return names
}

// Annotated returns the referrers with their annotations, reading those that are
// not kept in memory, without those that are too large to be listed. A manifest
// that was deleted meanwhile has none.
func (s *Set) Annotated(ctx context.Context, list []*Referrer) ([]*Referrer, error) {
	full := make([]*Referrer, len(list))
	group, ctx := errgroup.WithContext(ctx)
	if s.index != nil {
		group.SetLimit(s.index.options.Concurrency)
	}
	for i, r := range list {
		full[i] = r
		if s.index == nil || !r.Abridged() {
			continue
		}
		group.Go(func() error {
			err := s.index.reader.Manifest(ctx, r.Digest, func(content []byte) error {
				m, err := s.index.options.Types.Describe(content)
				if err != nil {
					return err
				}
				annotated := *r
				annotated.Annotations, err = annotationsOf(m)
				full[i] = &annotated
				return err
			})
			if layout.IsBroken(err) {
				return nil
			}
			return err
		})
	}
	return full, group.Wait()
}
