package referrers

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
)

// Referrers returns the manifests of the repository that refer to subject. A
// subject or repository that is not there has none. The set holds every
// referrer that was acknowledged before the call, and none that cannot be pulled;
// what cannot be known for certain is an error, or NotReadyError.
//
// It costs one storage operation where this process has listed the subject
// before and nothing has changed. Otherwise each manifest that it has not seen
// yet costs one to ask for its revision, and one to read it unless its
// description is known.
func (x *Index) Referrers(ctx context.Context, repository string, subject digest.Digest) (*Set, error) {
	key := setKey{repository, subject}
	return x.listings.Do(ctx, x.ctx, key, func(ctx context.Context) (*Set, error) {
		return x.load(ctx, key)
	})
}

func (x *Index) load(ctx context.Context, key setKey) (*Set, error) {
	l := &lookup{index: x, key: key}
	l.known, _ = x.sets.GetIfPresent(key)
	if err := l.ask(ctx); err != nil {
		return nil, err
	}
	unseen := x.ready.unseen(key)
	if len(unseen) == 0 && l.known != nil && l.known.isOf(l.links) {
		if gone, err := l.anyGone(ctx, l.known.again); err != nil || !gone {
			return l.known, err
		}
	}
	return l.resolve(ctx, unseen)
}

// lookup is the making of one set.
type lookup struct {
	index  *Index
	key    setKey
	known  *Set                        // what this process has seen before, or nil
	links  []string                    // the paths in the subject's folder
	stored map[digest.Digest]*Referrer // what the subject's derived file says

	fresh atomic.Int64 // how many descriptions were not stored
	kept  atomic.Int64 // how many bytes of annotations the set keeps
}

// ask asks the storage for what every listing needs and is not known. The links
// come last: getting the repository ready may make some.
func (l *lookup) ask(ctx context.Context) error {
	x := l.index
	if l.known == nil || !x.ready.has(l.key.repository) {
		group, groupCtx := errgroup.WithContext(ctx)
		if l.known == nil {
			group.Go(func() (err error) {
				l.stored, err = x.readSummary(groupCtx, l.key)
				return err
			})
		}
		group.Go(func() error { return x.prepare(groupCtx, l.key.repository) })
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return l.list(ctx)
}

// list reads the folder of the subject. All manifests that distribution stores
// have digests of the canonical algorithm.
func (l *lookup) list(ctx context.Context) (err error) {
	l.links, err = l.index.driver.List(ctx, layout.Referrers(l.key.repository, l.key.subject, digest.Canonical))
	if err != nil && !layout.IsNotFound(err) {
		return fmt.Errorf("listing the referrers of %s in %s: %w", l.key.subject, l.key.repository, err)
	}
	return nil
}

// anyGone reports whether one of the manifests is no longer in the repository.
func (l *lookup) anyGone(ctx context.Context, list []*Referrer) (gone bool, err error) {
	for _, r := range list { // few, if any
		there, err := l.index.HasRevision(ctx, l.key.repository, r.Digest)
		if err != nil || !there {
			return true, err
		}
	}
	return false, nil
}

// resolve makes the set of what is linked and of what is known to name the
// subject. What this process has seen as it is now is taken over; every other
// manifest is asked for, several at once.
func (l *lookup) resolve(ctx context.Context, unseen pairs) (*Set, error) {
	seen := l.known.byName()
	restoring := slices.ContainsFunc(l.links, func(link string) bool { // then nothing that was seen counts
		return strings.HasPrefix(path.Base(link), layout.RestoringPrefix)
	})
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(l.index.options.Concurrency)
	names := make(map[string]bool, len(l.links))
	entries := make([]entry, len(l.links), len(l.links)+len(unseen))
	for i, link := range l.links {
		hex := path.Base(link)
		if !isHex(hex) || names[hex] {
			continue
		}
		names[hex] = true
		if entries[i] = seen[hex]; entries[i].settled() && !restoring {
			continue
		}
		group.Go(func() (err error) {
			entries[i], err = l.inspect(groupCtx, digest.NewDigestFromEncoded(digest.Canonical, hex), seen[hex])
			return err
		})
	}
	missing := make([]entry, len(unseen))
	for i, p := range unseen {
		if !names[p.referrer.Encoded()] {
			group.Go(func() (err error) {
				missing[i], err = l.inspect(groupCtx, p.referrer, seen[p.referrer.Encoded()])
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := l.link(ctx, missing); err != nil {
		return nil, err
	}
	return l.finish(entries, missing), nil
}

// link links the manifests that are to be listed and are not linked. Those that
// are gone meanwhile become empty entries.
func (l *lookup) link(ctx context.Context, missing []entry) error {
	x := l.index
	if x.options.ReadOnly || !slices.ContainsFunc(missing, func(e entry) bool { return e.Referrer != nil }) {
		return nil
	}
	var made atomic.Int64
	err := x.restoring(ctx, l.key.repository, l.key.subject, func() error {
		return forEach(ctx, x.options.Concurrency, missing, func(ctx context.Context, i int) error {
			if missing[i].Referrer == nil {
				return nil
			}
			there, err := x.restore(ctx, l.key.repository, l.key.subject, missing[i].Referrer.Digest)
			if there {
				made.Add(1)
			} else {
				missing[i] = entry{}
			}
			return err
		})
	})
	if n := made.Load(); n > 0 {
		x.options.Observer.Linked(l.key.repository, int(n))
	}
	return err
}

// finish makes the set, and keeps it unless there is nothing to keep.
func (l *lookup) finish(entries, missing []entry) *Set {
	x := l.index
	isEmpty := func(e entry) bool { return e.Referrer == nil && e.absence == nil }
	entries = slices.DeleteFunc(entries, isEmpty)
	var unlinked []*Referrer
	for _, e := range missing {
		switch {
		case e.Referrer == nil:
		case x.options.ReadOnly:
			unlinked = append(unlinked, e.Referrer)
		default:
			entries = append(entries, e)
		}
	}
	set := newSet(x, entries, unlinked)
	if len(unlinked) == 0 { // what read-only mode left has to be asked for again
		x.ready.seen(l.key)
	}
	if len(set.Referrers)+len(set.entries) == 0 {
		x.sets.Invalidate(l.key)
		return set
	}
	x.sets.Set(l.key, set)
	// A description that is written again for each new manifest would be written
	// all the time: an eighth may have to be read.
	if l.fresh.Load() > int64(len(set.Referrers)/8) {
		x.notes.described(l.key, set)
	}
	return set
}

// inspect asks for one manifest. An error means that the storage could not tell.
func (l *lookup) inspect(ctx context.Context, d digest.Digest, before entry) (entry, error) {
	x := l.index
	absent := func(reason error, final bool) (entry, error) {
		if before.absence == nil || !errors.Is(reason, before.absence.reason) {
			x.options.Observer.Skipped(l.key.repository, l.key.subject, d, reason)
		}
		return entry{absence: &absence{d, reason, final}}, nil
	}
	switch there, err := x.HasRevision(ctx, l.key.repository, d); {
	case err != nil:
		return entry{}, err
	case !there:
		return absent(errNoRevision, false)
	case before.Referrer != nil:
		return before, nil
	}
	r, err := l.description(ctx, d)
	switch {
	case layout.IsBroken(err):
		return absent(err, false)
	case errors.As(err, new(*unreadableError)):
		return absent(err, true)
	case err != nil:
		return entry{}, err
	case r.Subject != "" && r.Subject != l.key.subject:
		return absent(fmt.Errorf("its subject is %s", r.Subject), true)
	case x.options.Unlisted != nil && x.options.Unlisted(r.MediaType):
		return entry{absence: &absence{d, nil, true}}, nil
	}
	return l.entry(ctx, r)
}

// description is what the manifest's bytes say.
func (l *lookup) description(ctx context.Context, d digest.Digest) (*Referrer, error) {
	x := l.index
	if r, ok := l.stored[d]; ok {
		return r, nil
	}
	l.fresh.Add(1)
	if r, ok := x.facts.Invalidate(d); ok {
		return r, nil
	}
	return x.describe(ctx, d)
}

// entry makes the entry of a referrer.
func (l *lookup) entry(ctx context.Context, fact *Referrer) (entry, error) {
	r := *fact
	if r.Subject == l.key.subject {
		r.Subject = l.key.subject // one string for all
	}
	if r.AnnotationsSize > l.index.options.MaxAnnotations {
		r.Annotations, r.AnnotationsSize = nil, 0
	}
	if l.kept.Add(int64(len(r.Annotations))) > int64(l.index.options.CacheSize/4) {
		r.Annotations = nil // they are read when they are listed
	}
	if !r.dated() {
		pushed, err := l.pushed(ctx, r.Digest)
		if layout.IsNotFound(err) { // it was removed this moment
			return entry{absence: &absence{r.Digest, layout.ErrNoContent, false}}, nil
		}
		if err != nil {
			return entry{}, err
		}
		r.Pushed = pushed
	}
	return entry{Referrer: &r}, nil
}

// pushed is when a manifest was pushed first: the time of its bytes. Those are
// not written again when it is pushed again, so that all processes agree on it.
func (l *lookup) pushed(ctx context.Context, d digest.Digest) (time.Time, error) {
	info, err := l.index.driver.Stat(ctx, layout.BlobData(d))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the time of manifest %s: %w", d, err)
	}
	return info.ModTime().UTC(), nil
}

// isHex reports whether text is the encoded part of a canonical digest.
func isHex(text string) bool {
	if len(text) != digest.Canonical.Size()*2 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
