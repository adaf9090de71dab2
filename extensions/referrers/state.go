package referrers

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// repoState is what is known of a repository that is ready.
type repoState struct {
	// changed says that links were made or removed to get there.
	changed bool
	// unsure says that it was not known which manifests had been there before: the
	// summaries may have some that another program deleted.
	unsure bool

	mu sync.Mutex
	// overlay is the links that read-only mode forbids to write, removed those
	// that it forbids to remove, both by subject.
	overlay, removed map[digest.Digest][]digest.Digest
	// noted is which manifests the file of scanned revisions says are linked to a
	// subject: the sums of their digests, one behind the other. That they were once
	// is no proof that they still are: the file may be older than a delete, and a
	// link may have been lost with the power. So each subject is held against it,
	// when it is listed first.
	noted map[digest.Digest][]byte
}

// noteLinks turns around what is known of the manifests.
func noteLinks(known *revisions) map[digest.Digest][]byte {
	noted := map[digest.Digest][]byte{}
	for d, subjects := range known.known {
		for _, subject := range subjects {
			sum, _ := hex.DecodeString(d.Encoded()) // it was checked when it was read
			if _, ok := noted[subject]; !ok {
				subject = digest.Digest(strings.Clone(string(subject))) // without the file around it
			}
			noted[subject] = append(noted[subject], sum...)
		}
	}
	return noted
}

// weight is about how many bytes of memory a state takes.
func (s *repoState) weight() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	weight := 256
	for _, sums := range s.noted {
		weight += 160 + len(sums)
	}
	return uint32(min(weight, 1<<31))
}

// add and remove keep a link in mind that must not be written or removed.
func (s *repoState) add(subject, referrer digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep(&s.overlay, subject, referrer)
}

func (s *repoState) remove(subject, referrer digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep(&s.removed, subject, referrer)
}

func keep(links *map[digest.Digest][]digest.Digest, subject, referrer digest.Digest) {
	if *links == nil {
		*links = map[digest.Digest][]digest.Digest{}
	}
	(*links)[subject] = append((*links)[subject], referrer)
}

// patch makes of the links in the storage those that there should be.
func (s *repoState) patch(subject digest.Digest, links []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.overlay[subject] {
		links = append(links, d.Encoded())
	}
	for _, d := range s.removed[subject] {
		links = slices.DeleteFunc(links, func(hex string) bool { return hex == d.Encoded() })
	}
	return links
}

// missing is what was noted as linked to a subject and is not among its links,
// which are sorted.
func (s *repoState) missing(subject digest.Digest, links []string) (list []digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sum := range slices.Chunk(s.noted[subject], digest.Canonical.Size()) {
		text := hex.EncodeToString(sum)
		if _, found := slices.BinarySearch(links, text); !found {
			list = append(list, digest.NewDigestFromEncoded(digest.Canonical, text))
		}
	}
	return list
}

// checked notes that a subject has all the links that it should have.
func (s *repoState) checked(subject digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.noted, subject)
}

// restore links to a subject again what was noted as linked to it, is not, and
// is in the repository all the same. It reports whether the links are others now.
func (x *Index) restore(ctx context.Context, key setKey, state *repoState, links []string) (changed bool, err error) {
	var restored atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(x.options.Concurrency)
	for _, d := range state.missing(key.subject, links) {
		group.Go(func() error {
			there, err := x.restoreLink(ctx, key, state, d)
			if there {
				restored.Store(true)
			}
			return err
		})
	}
	err = group.Wait()
	return restored.Load(), err
}

// restoreLink reports whether the link is there now.
func (x *Index) restoreLink(ctx context.Context, key setKey, state *repoState, d digest.Digest) (bool, error) {
	if there, err := x.HasRevision(ctx, key.repository, d); err != nil || !there {
		return false, err
	}
	if x.options.ReadOnly {
		state.add(key.subject, d)
		return true, nil
	}
	// It may have been made since the folder was read.
	if there, err := x.hasLink(ctx, key.repository, key.subject, d); err != nil || there {
		return there, err
	}
	err := x.Add(ctx, key.repository, key.subject, d)
	switch {
	case errors.As(err, new(ErrDeleted)):
		return false, nil
	case err != nil:
		return false, err
	}
	x.options.Observer.Restored(key.repository, key.subject, d)
	return true, nil
}
