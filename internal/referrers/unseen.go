package referrers

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/opencontainers/go-digest"
)

// pair is a manifest that is known to name a subject.
type pair struct{ subject, referrer digest.Digest }

type pairs []pair

// unseen is the pairs of one repository that this process has not asked for yet,
// in little memory. A nil one is empty.
type unseen struct {
	list   []sumPair // sorted
	done   []bool    // of the list
	left   int
	others map[sum]digest.Digest // digests of other algorithms, by the sum of their text
}

// sum is the bytes of a canonical digest, or what stands for another one.
type sum [sha256.Size]byte

type sumPair struct{ subject, referrer sum }

// pairSize is how many bytes a pair takes.
const pairSize = 2*sha256.Size + 1

func newUnseen(list pairs) *unseen {
	if len(list) == 0 {
		return nil
	}
	u := &unseen{list: make([]sumPair, 0, len(list)), others: map[sum]digest.Digest{}}
	for _, p := range list {
		u.list = append(u.list, sumPair{u.note(p.subject), u.note(p.referrer)})
	}
	slices.SortFunc(u.list, func(a, b sumPair) int {
		return cmp.Or(bytes.Compare(a.subject[:], b.subject[:]), bytes.Compare(a.referrer[:], b.referrer[:]))
	})
	u.list = slices.Compact(u.list)
	u.done, u.left = make([]bool, len(u.list)), len(u.list)
	return u
}

// sumOf is the bytes of a canonical digest, or the sum of another one's text.
func sumOf(d digest.Digest) (s sum, canonical bool) {
	if d.Algorithm() == digest.Canonical {
		if n, err := hex.Decode(s[:], []byte(d.Encoded())); err == nil && n == len(s) {
			return s, true
		}
	}
	return sha256.Sum256([]byte(d)), false
}

func (u *unseen) note(d digest.Digest) sum {
	s, canonical := sumOf(d)
	if !canonical {
		u.others[s] = d
	}
	return s
}

func (u *unseen) digest(s sum) digest.Digest {
	if d, ok := u.others[s]; ok {
		return d
	}
	return digest.NewDigestFromBytes(digest.Canonical, s[:])
}

// size is about how many bytes are kept.
func (u *unseen) size() int {
	if u == nil || u.left == 0 {
		return 0
	}
	return len(u.list)*pairSize + len(u.others)*256
}

// of is the pairs of a subject.
func (u *unseen) of(subject digest.Digest) (list pairs) {
	u.each(subject, func(i int) { list = append(list, pair{subject, u.digest(u.list[i].referrer)}) })
	return list
}

// all is the pairs of all subjects, grouped by subject.
func (u *unseen) all() (list pairs) {
	if u == nil {
		return nil
	}
	for i, p := range u.list {
		if !u.done[i] {
			list = append(list, pair{u.digest(p.subject), u.digest(p.referrer)})
		}
	}
	return list
}

// seen drops the pairs of a subject.
func (u *unseen) seen(subject digest.Digest) {
	u.each(subject, func(i int) {
		u.done[i] = true
		u.left--
	})
	if u != nil && u.left == 0 {
		*u = unseen{}
	}
}

// each calls do with the place of each pair of a subject that is left.
func (u *unseen) each(subject digest.Digest, do func(i int)) {
	if u == nil || u.left == 0 {
		return
	}
	s, _ := sumOf(subject)
	i, _ := slices.BinarySearchFunc(u.list, s, func(p sumPair, s sum) int { return bytes.Compare(p.subject[:], s[:]) })
	for ; i < len(u.list) && u.list[i].subject == s; i++ {
		if !u.done[i] {
			do(i)
		}
	}
}
