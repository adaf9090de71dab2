package collection

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// maxCandidates is how many candidates one run has at most. The next one finds the rest.
const maxCandidates = 1 << 20

// maxCandidatesFile is the size of the largest file of candidates, in bytes.
const maxCandidatesFile = 16 << 20

// The kinds of runs, as the first byte of a file of candidates.
const (
	onlineRun  = 1
	offlineRun = 2 // removes whatever is used meanwhile
	brokenRun  = 3 // only in memory: what it is about cannot be read
)

var errCandidates = errors.New("the file of candidates cannot be decoded")

// encodeCandidates encodes a kind of run and its batches: each is its length and its keys.
func encodeCandidates(kind byte, batches [][]Key) []byte {
	b := []byte{kind}
	for _, batch := range batches {
		b = binary.BigEndian.AppendUint32(b, uint32(len(batch)))
		b = appendKeys(b, batch)
	}
	return b
}

// candidates are those of one run, as replicas know them: 12 bytes for each.
type candidates struct {
	kind    byte
	keys    []Key    // sorted
	batches []uint32 // of the keys
}

func decodeCandidates(b []byte) (*candidates, error) {
	if len(b) == 0 || b[0] != onlineRun && b[0] != offlineRun {
		return nil, errCandidates
	}
	type member struct {
		key   Key
		batch uint32
	}
	c := &candidates{kind: b[0]}
	members := make([]member, 0, len(b)/keySize)
	b = b[1:]
	for n := uint32(0); len(b) > 0; n++ {
		if len(b) < 4 {
			return nil, errCandidates
		}
		length := int(binary.BigEndian.Uint32(b)) * keySize
		if b = b[4:]; length > len(b) {
			return nil, errCandidates
		}
		keys := decodeKeys(b[:length])
		for _, key := range keys {
			members = append(members, member{key, n})
		}
		b = b[length:]
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	for _, m := range members {
		c.keys, c.batches = append(c.keys, m.key), append(c.batches, m.batch)
	}
	return c, nil
}

// batch is the batch of a candidate.
func (c *candidates) batch(k Key) (n int, ok bool) {
	i, found := slices.BinarySearch(c.keys, k)
	if !found {
		return 0, false
	}
	return int(c.batches[i]), true
}

// maxSuspects is how many suspects are told apart from everything else.
const maxSuspects = 4 << 20

// suspects are the digests for which a descriptor cache may vouch although a run has
// removed them. Each is a suspect until it has been seen in the storage again.
type suspects struct {
	any    atomic.Bool // there may be some
	mu     sync.Mutex
	all    bool // everything is one, except what is in seen
	seen   map[Key]bool
	groups []*suspectGroup
}

// suspectGroup are the suspects of one run.
type suspectGroup struct {
	keys    []Key // sorted
	cleared []bool
	ended   bool // the run removes no more, so that what is seen afterwards stays
}

// add makes the candidates of a run suspects.
func (s *suspects) add(keys []Key, ended bool) *suspectGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &suspectGroup{keys: keys, cleared: make([]bool, len(keys)), ended: ended}
	s.merge()
	s.groups = append(s.groups, g)
	count := 0
	for _, g := range s.groups {
		count += len(g.keys)
	}
	if count > maxSuspects {
		s.groups = nil
		s.suspectAll()
	}
	s.any.Store(true)
	return g
}

// merge makes one group of those that have ended, without what has been seen since.
func (s *suspects) merge() {
	past := &suspectGroup{ended: true}
	var rest []*suspectGroup
	for _, g := range s.groups {
		if !g.ended {
			rest = append(rest, g)
			continue
		}
		for i, k := range g.keys {
			if !g.cleared[i] {
				past.keys = append(past.keys, k)
			}
		}
	}
	slices.Sort(past.keys)
	past.keys = slices.Compact(past.keys)
	past.cleared = make([]bool, len(past.keys))
	s.groups = append(rest, past)
}

// everything makes suspects of all that a cache may contain.
func (s *suspects) everything() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspectAll()
	s.any.Store(true)
}

func (s *suspects) suspectAll() { s.all, s.seen = true, map[Key]bool{} }

// end says that the run of a group removes no more.
func (s *suspects) end(g *suspectGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.ended = true
}

// has reports whether the storage has to be asked.
func (s *suspects) has(k Key) bool {
	if !s.any.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all && !s.seen[k] {
		return true
	}
	return slices.ContainsFunc(s.groups, func(g *suspectGroup) bool {
		i, found := slices.BinarySearch(g.keys, k)
		return found && !g.cleared[i]
	})
}

// clear says that the storage has it.
func (s *suspects) clear(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all && len(s.seen) < maxSuspects/8 {
		s.seen[k] = true
	}
	for _, g := range s.groups {
		if i, found := slices.BinarySearch(g.keys, k); found && g.ended {
			g.cleared[i] = true
		}
	}
}
