package referrers

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// notes is what is worth writing to the derived files. It is written in the
// background, so that no request waits for it; what is lost has to be read again
// some day.
type notes struct {
	index *Index
	limit int // bytes; beyond it nothing is noted
	end   context.CancelFunc
	full  chan struct{} // asks for a flush ahead of time

	mu      sync.Mutex
	size    int
	facts   map[string]facts
	sets    map[setKey]*Set
	resting map[string]time.Time // repositories whose file is too large to be written again so soon
}

// How often files are written: every flushAfter, and the facts of one repository
// not faster than flushSpeed bytes a second.
const (
	flushAfter = 2 * time.Second
	flushSpeed = 1 << 18
	factWeight = 320
)

func (n *notes) start(x *Index, limit int) {
	n.index, n.limit = x, limit
	n.full = make(chan struct{}, 1)
	n.facts, n.sets, n.resting = map[string]facts{}, map[setKey]*Set{}, map[string]time.Time{}
	ended, end := context.WithCancel(x.ctx)
	n.end = end
	x.work.Go(func() {
		ticker := time.NewTicker(flushAfter)
		defer ticker.Stop()
		for {
			all := false
			select {
			case <-ended.Done():
				return
			case <-n.full:
				all = true
			case <-ticker.C:
			}
			ctx, cancel := context.WithTimeout(x.ctx, stallTimeout)
			_ = n.flush(ctx, all) // the Observer has been told
			cancel()
		}
	})
}

func (n *notes) stop(ctx context.Context) error {
	n.end()
	return n.flush(ctx, true)
}

// Flush writes what is known and not yet written to the derived files.
func (x *Index) Flush(ctx context.Context) error { return x.notes.flush(ctx, true) }

// read notes what the bytes of a manifest say.
func (n *notes) read(repository string, d, subject digest.Digest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.size+factWeight > n.limit {
		return
	}
	if n.facts[repository] == nil {
		n.facts[repository] = facts{}
	}
	n.facts[repository][d] = subject
	if n.size += factWeight; n.size > n.limit/2 {
		select {
		case n.full <- struct{}{}:
		default:
		}
	}
}

// described notes the referrers of a subject.
func (n *notes) described(key setKey, set *Set) {
	n.mu.Lock()
	defer n.mu.Unlock()
	size := int(set.weight)
	if before := n.sets[key]; before != nil {
		n.size -= int(before.weight)
		delete(n.sets, key)
	}
	if n.size > 0 && n.size+size > n.limit {
		return
	}
	n.sets[key] = set
	n.size += size
}

// of is the facts about a repository that are not written yet.
func (n *notes) of(repository string) facts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.facts[repository])
}

func (n *notes) forget(repository string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.size -= len(n.facts[repository]) * factWeight
	delete(n.facts, repository)
	for key, set := range n.sets {
		if key.repository == repository {
			n.size -= int(set.weight)
			delete(n.sets, key)
		}
	}
}

// flush writes what is noted; unless all is asked for, only what may be written
// again already.
func (n *notes) flush(ctx context.Context, all bool) error {
	manifests, sets := n.take(all)
	var errs []error
	failed := func(repository string, err error) {
		if !errors.Is(err, layout.ErrReadOnly) {
			n.index.failed(repository, err)
			errs = append(errs, err)
		}
	}
	for repository, f := range manifests {
		failed(repository, n.writeFacts(ctx, repository, f))
	}
	for key, set := range sets {
		failed(key.repository, n.index.writeSummary(ctx, key, set))
	}
	return errors.Join(errs...)
}

// writeFacts adds facts to those in the file. What two replicas that do so at the
// same moment lose to one another is read again some day.
func (n *notes) writeFacts(ctx context.Context, repository string, f facts) error {
	known, err := n.index.readFacts(ctx, repository, len(f)+maxMerged)
	if err != nil {
		return err
	}
	maps.Copy(known, f)
	n.mu.Lock()
	n.resting[repository] = time.Now().Add(time.Duration(len(known)) * 150 * time.Second / flushSpeed)
	n.mu.Unlock()
	return n.index.writeFacts(ctx, repository, known)
}

// maxMerged is how many manifests a file may have that pushes are added to. Beyond
// it, the file is written anew by the next scan.
const maxMerged = 1_000_000

// take takes out of what is noted the part that may be written now.
func (n *notes) take(all bool) (map[string]facts, map[setKey]*Set) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(n.resting, func(_ string, until time.Time) bool { return until.Before(now) })
	manifests := map[string]facts{}
	for repository, f := range n.facts {
		if _, rests := n.resting[repository]; all || !rests {
			manifests[repository] = f
			delete(n.facts, repository)
			n.size -= len(f) * factWeight
		}
	}
	sets := n.sets
	for _, set := range sets {
		n.size -= int(set.weight)
	}
	n.sets = map[setKey]*Set{}
	return manifests, sets
}
