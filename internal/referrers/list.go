package referrers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

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
	links  []string                    // the names in the subject's folder
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

// list reads the folder of the subject, and those of other algorithms if a file in it
// says that there are any.
func (l *lookup) list(ctx context.Context) error {
	for i, algorithm := range layout.Algorithms() {
		links, err := l.index.options.Names(ctx, layout.Referrers(l.key.repository, l.key.subject, algorithm))
		if err != nil && !layout.IsNotFound(err) {
			return fmt.Errorf("listing the referrers of %s in %s: %w", l.key.subject, l.key.repository, err)
		}
		others := false
		l.links = append(l.links, slices.DeleteFunc(links, func(name string) bool {
			others = others || name == layout.OtherAlgorithms
			return layout.IsOtherAlgorithms(name)
		})...)
		if i == 0 && !others {
			return nil
		}
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
	restoring := slices.ContainsFunc(l.links, func(name string) bool { // then nothing that was seen counts
		return strings.HasPrefix(name, layout.RestoringPrefix)
	})
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(l.index.options.Concurrency)
	ask := func(e *entry, d digest.Digest, linked bool) {
		group.Go(func() (err error) {
			*e, err = l.inspect(groupCtx, d, seen[d.Encoded()], linked)
			return err
		})
	}
	names := make(map[string]bool, len(l.links))
	entries := make([]entry, len(l.links), len(l.links)+len(unseen))
	for i, hex := range l.links {
		d, ok := layout.ManifestDigest(hex)
		if !ok || names[hex] {
			continue
		}
		names[hex] = true
		if entries[i] = seen[hex]; !entries[i].settled() || restoring {
			ask(&entries[i], d, true)
		}
	}
	missing := make([]entry, len(unseen))
	for i, p := range unseen {
		if !names[p.referrer.Encoded()] {
			ask(&missing[i], p.referrer, false)
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	missing = slices.DeleteFunc(missing, func(e entry) bool { return e.Referrer == nil })
	if err := l.link(ctx, missing); err != nil {
		return nil, err
	}
	return l.finish(append(entries, missing...)), nil
}

// link links the manifests that are to be listed and are not linked. Those that
// are gone meanwhile become empty entries.
func (l *lookup) link(ctx context.Context, missing []entry) error {
	if len(missing) == 0 {
		return nil
	}
	x := l.index
	list := make(pairs, len(missing))
	for i, e := range missing {
		list[i] = pair{l.key.subject, e.Referrer.Digest}
	}
	var made atomic.Int64
	err := x.restore(ctx, l.key.repository, list, x.options.Concurrency, func(i int, there bool) {
		if there {
			made.Add(1)
		} else {
			missing[i] = entry{}
		}
	})
	if errors.Is(err, layout.ErrReadOnly) {
		for i := range missing {
			missing[i].unlinked = true
		}
		return nil
	}
	if n := made.Load(); n > 0 {
		x.options.Observer.Linked(l.key.repository, int(n))
	}
	return err
}

// finish makes the set, and keeps it unless there is nothing to keep.
func (l *lookup) finish(entries []entry) *Set {
	x := l.index
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e == entry{} })
	set := newSet(x, entries)
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.unlinked }) { // those are asked for again
		x.ready.seen(l.key)
	}
	if len(entries) == 0 {
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

// inspect asks for one manifest. An error means that the storage could not tell. One
// that is neither linked nor there was deleted, which is no reason to tell the Observer.
func (l *lookup) inspect(ctx context.Context, d digest.Digest, before entry, linked bool) (entry, error) {
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
	case !there && !linked:
		return entry{}, nil
	case !there:
		return absent(errNoRevision, false)
	case before.Referrer != nil:
		return entry{Referrer: before.Referrer}, nil
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
	if r.dated() {
		return entry{Referrer: &r}, nil
	}
	// The bytes are not written again when the manifest is pushed again, so that all
	// processes agree on their time.
	info, err := l.index.driver.Stat(ctx, layout.BlobData(r.Digest))
	switch {
	case layout.IsNotFound(err): // it was removed this moment
		return entry{absence: &absence{r.Digest, layout.ErrNoContent, false}}, nil
	case err != nil:
		return entry{}, fmt.Errorf("reading the time of manifest %s: %w", r.Digest, err)
	}
	r.Pushed = info.ModTime().UTC()
	return entry{Referrer: &r}, nil
}

// ParseDigest is digest.Parse, without a regular expression for canonical digests.
func ParseDigest(text string) (digest.Digest, error) {
	if hex, ok := strings.CutPrefix(text, string(digest.Canonical)+":"); ok {
		if d, ok := layout.ManifestDigest(hex); ok && string(d) == text {
			return d, nil
		}
	}
	return digest.Parse(text)
}
