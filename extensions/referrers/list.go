package referrers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/extensions/layout"
)

// What is wrong with an entry that a listing leaves out.
var (
	errNoRevision = errors.New("the manifest is not in the repository")
	errNoContent  = errors.New("the manifest's bytes are not in the storage")
	errGone       = errors.New("the manifest was deleted, and its link is removed")
	errCorrupt    = errors.New("the manifest's bytes do not have its digest")
)

// Referrers returns the manifests of the repository that refer to subject. A
// subject or repository that is not there has none. The set holds every
// referrer that was acknowledged before the call, and only such as can be
// pulled; what cannot be known for certain is an error, or ErrNotReady.
//
// It costs one storage operation, or two if there may be something new, where
// this process knows the manifests, and at most four where it does not but the
// subject was listed before.
func (x *Index) Referrers(ctx context.Context, repository string, subject digest.Digest) (*Set, error) {
	key := setKey{repository, subject}
	return x.listings.do(ctx, x.ctx, key, func(ctx context.Context) (*Set, error) {
		return x.load(ctx, key)
	})
}

func (x *Index) load(ctx context.Context, key setKey) (*Set, error) {
	state, ready := x.repos.GetIfPresent(key.repository)
	known, _ := x.sets.GetIfPresent(key)
	if !ready || known == nil {
		return x.loadCold(ctx, key, state, known)
	}
	version, err := x.version(ctx, key)
	if err != nil {
		return nil, err
	}
	if version.same(known.version) {
		return known, nil
	}
	links, err := x.links(ctx, key, state)
	if err != nil {
		return nil, err
	}
	if known.is(links) && !version.settled {
		return known, nil
	}
	return x.resolve(ctx, key, links, version, known, nil)
}

// version is the state of a subject's folder, as far as a storage driver can tell
// it without listing the folder.
type version struct {
	modified time.Time
	settled  bool
}

// settleTime is how long ago a folder must have been changed for its time of
// change to tell the next change from the last: clocks of filesystems are coarse.
const settleTime = 3 * time.Second

func (v version) same(w version) bool {
	return v.settled && w.settled && v.modified.Equal(w.modified)
}

// version costs no storage operation where it cannot be told. A real filesystem
// notes in a folder when an entry was added or removed last.
func (x *Index) version(ctx context.Context, key setKey) (version, error) {
	if x.driver.Name() != "filesystem" {
		return version{}, nil
	}
	info, err := x.driver.Stat(ctx, layout.Referrers(key.repository, key.subject, digest.Canonical))
	switch {
	case isNotFound(err):
		return version{}, nil
	case err != nil:
		return version{}, fmt.Errorf("looking at the referrers of %s in %s: %w", key.subject, key.repository, err)
	}
	modified := info.ModTime()
	return version{modified, time.Since(modified) > settleTime}, nil
}

// loadCold asks the storage for everything at once that a listing may need.
// state is nil for a repository that is not ready.
func (x *Index) loadCold(ctx context.Context, key setKey, state *repoState, known *Set) (*Set, error) {
	var (
		made   *repoState
		links  []string
		stored summary
	)
	group, groupCtx := errgroup.WithContext(ctx)
	if state == nil {
		group.Go(func() (err error) {
			made, err = x.ready(groupCtx, key.repository)
			return err
		})
	}
	group.Go(func() (err error) {
		links, err = x.links(groupCtx, key, state)
		return err
	})
	if known == nil {
		group.Go(func() (err error) {
			stored, err = x.readSummary(groupCtx, key)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if made != nil && made.changed {
		// Making the repository ready has changed links, maybe after they were read.
		var err error
		if links, err = x.links(ctx, key, made); err != nil {
			return nil, err
		}
	}
	if state == nil {
		state = made
	}
	restored, err := x.restore(ctx, key, state, links)
	if err == nil && restored {
		links, err = x.links(ctx, key, state)
	}
	if err != nil {
		return nil, err
	}
	state.checked(key.subject)
	if state.unsure {
		stored = nil
	}
	return x.resolve(ctx, key, links, version{}, known, stored)
}

// links reads the folder of a subject: the hex digits of its referrers' digests,
// in ascending order. All manifests that distribution stores have digests of the
// canonical algorithm.
func (x *Index) links(ctx context.Context, key setKey, state *repoState) ([]string, error) {
	paths, err := x.driver.List(ctx, layout.Referrers(key.repository, key.subject, digest.Canonical))
	if err != nil && !isNotFound(err) {
		return nil, fmt.Errorf("listing the referrers of %s in %s: %w", key.subject, key.repository, err)
	}
	links := paths[:0]
	for _, path := range paths {
		if hex := path[strings.LastIndexByte(path, '/')+1:]; isHex(hex) {
			links = append(links, hex)
		}
	}
	if state != nil {
		links = state.patch(key.subject, links)
	}
	if !slices.IsSorted(links) {
		slices.Sort(links)
	}
	return slices.Compact(links), nil
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

// resolve makes the set that the links say, reading only manifests that neither
// the known set nor the stored summary has.
func (x *Index) resolve(ctx context.Context, key setKey, links []string, at version, known *Set, stored summary) (*Set, error) {
	r := &resolution{
		index: x, key: key, fresh: summary{},
		list:    make([]*Referrer, 0, len(links)),
		refused: map[digest.Digest]error{}, pending: map[digest.Digest]error{},
	}
	var before []*Referrer // in the order of the links
	if known != nil {
		before = known.Referrers
	}
	var unknown []digest.Digest
	for _, hex := range links {
		for len(before) > 0 && before[0].Digest.Encoded() < hex {
			before = before[1:]
		}
		if len(before) > 0 && before[0].Digest.Encoded() == hex {
			r.list = append(r.list, before[0])
			continue
		}
		d := digest.NewDigestFromEncoded(digest.Canonical, hex)
		if known != nil && known.refused[d] != nil {
			r.refused[d] = known.refused[d]
		} else if record, ok := stored[d]; ok {
			r.take(d, record)
		} else {
			unknown = append(unknown, d)
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(x.options.Concurrency)
	for _, d := range unknown {
		group.Go(func() error { return r.read(groupCtx, d) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	set := newSet(r.list, r.refused, r.pending)
	if len(r.pending) == 0 {
		set.version = at
	}
	x.sets.Set(key, set)
	if len(r.fresh) > 0 {
		x.derived.listed(key, r.fresh)
	}
	return set, nil
}

// resolution is the making of one set.
type resolution struct {
	index   *Index
	key     setKey
	mu      sync.Mutex
	list    []*Referrer
	refused map[digest.Digest]error
	pending map[digest.Digest]error
	fresh   summary
}

// take adds a manifest whose bytes are known.
func (r *resolution) take(d digest.Digest, record record) {
	referrer, err := describe(d, r.key.subject, record.content, r.index.options.MaxAnnotations)
	if err != nil {
		r.skip(r.refused, d, err)
		return
	}
	r.accept(referrer, record)
}

// accept adds a referrer that was read from a record.
func (r *resolution) accept(referrer *Referrer, record record) {
	if !referrer.dated() {
		referrer.Pushed = record.pushed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, referrer)
}

func (r *resolution) skip(into map[digest.Digest]error, d digest.Digest, reason error) {
	r.index.options.Observer.Skipped(r.key.repository, r.key.subject, d, reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	into[d] = reason
}

// read adds a manifest that has to be read. One that cannot be pulled is left
// out; a storage error ends the listing.
func (r *resolution) read(ctx context.Context, d digest.Digest) error {
	x := r.index
	there, err := x.HasRevision(ctx, r.key.repository, d)
	if err != nil {
		return err
	}
	if !there {
		r.skip(r.pending, d, errNoRevision)
		return nil
	}
	content, scanned := x.contents.Invalidate(d)
	if !scanned {
		content, err = x.content(ctx, d)
	}
	switch {
	case errors.Is(err, errNoContent) || errors.Is(err, errCorrupt):
		r.skip(r.pending, d, err)
		return nil
	case err != nil:
		return err
	}
	record := record{content: content}
	referrer, err := describe(d, r.key.subject, content, x.options.MaxAnnotations)
	if err != nil {
		r.skip(r.refused, d, err)
	} else {
		if !referrer.dated() {
			if record.pushed, err = r.pushed(ctx, d); isNotFound(err) {
				r.skip(r.pending, d, errNoRevision) // deleted this moment
				return nil
			} else if err != nil {
				return err
			}
		}
		r.accept(referrer, record)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fresh[d] = record
	return nil
}

// pushed is when a manifest was pushed first: the time of its bytes. Those are
// not written again when it is pushed again, so that what one process keeps in
// mind is what another one reads.
func (r *resolution) pushed(ctx context.Context, d digest.Digest) (time.Time, error) {
	info, err := r.index.driver.Stat(ctx, layout.BlobData(d))
	if err != nil {
		return time.Time{}, fmt.Errorf("looking at manifest %s: %w", d, err)
	}
	return info.ModTime().UTC(), nil
}

// content reads the bytes of a manifest and holds them against their digest.
func (x *Index) content(ctx context.Context, d digest.Digest) ([]byte, error) {
	content, err := x.driver.GetContent(ctx, layout.BlobData(d))
	switch {
	case isNotFound(err):
		return nil, errNoContent
	case err != nil:
		return nil, fmt.Errorf("reading manifest %s: %w", d, err)
	case d.Algorithm().FromBytes(content) != d:
		return nil, errCorrupt
	}
	return bytes.Clone(content), nil
}
