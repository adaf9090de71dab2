package gc

import (
	"context"
	"iter"
	"slices"
	"sync"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/layout"
)

// plan is what is removed from one repository.
type plan struct {
	revisions    ids
	hollow       ids      // folders of revisions without a link
	hollowTags   []string // folders of tags that point to nothing
	layers       ids      // layer links
	hollowLayers ids      // folders of layers without a link
	links        edges    // links of the index that are removed before their revision
	lateLinks    edges    // and those that are removed after it
	subjects     ids      // folders of the index that are empty afterwards
	derived      ids      // subjects with a derived file and no link
	others       ids      // subjects that keep no link of another algorithm
	emptyIndex   bool     // no link is kept
	tags         []tag    // tags that do not stay
	released     ids      // those of revisions that an interrupted run has to leave a record of
}

// decide marks what is reachable in a repository and plans what to remove.
func (c *collector) decide(ctx context.Context, r *repository) error {
	for _, list := range []*ids{&r.revisions, &r.hollow, &r.tagged, &r.layers, &r.aliases, &r.subjects, &r.derived} {
		*list = list.sorted()
	}
	for _, list := range []*edges{&r.needs, &r.links, &r.own} {
		*list = list.sorted()
	}
	if !r.damaged {
		if err := c.planAll(ctx, r); err != nil {
			return err
		}
	}
	if r.damaged { // perhaps found only now
		r.plan = plan{}
		c.keepAll(r)
	}
	if !c.online {
		r.needs, r.own, r.attached, r.unrooted = nil, nil, nil, nil
	}
	return nil
}

func (c *collector) planAll(ctx context.Context, r *repository) error {
	r.attached = slices.Concat(r.links, r.own).sorted()
	if err := c.retain(ctx, r); err != nil {
		return err
	}
	marked, err := c.mark(ctx, r)
	if err != nil {
		return err
	}
	c.planTags(r, marked)
	if err := c.planLayers(ctx, r, marked); err != nil {
		return err
	}
	if err := c.planHollow(ctx, r); err != nil {
		return err
	}
	r.plan.revisions = r.revisions.without(marked)
	c.planRecord(r)
	r.planLinks(c.digests.isCanonical)
	c.digests.keepAll(marked)
	return nil
}

// keepAll keeps everything that the manifests of a repository could need: what
// they are known to reference, and what it has layer links for.
func (c *collector) keepAll(r *repository) {
	for _, list := range []ids{r.revisions, r.layers} {
		for _, n := range list {
			c.digests.keep(n)
		}
	}
	for _, edge := range r.needs {
		c.digests.keep(edge.to)
	}
}

// mark returns everything that is kept in a repository, including the manifests that
// are too young to be removed.
func (c *collector) mark(ctx context.Context, r *repository) (map[id]struct{}, error) {
	roots := c.roots(r, r.attached)
	marked := Mark(slices.Values(roots), r.needs.from, r.referrers)
	candidates := r.revisions.without(marked)
	young, err := c.young(ctx, r, candidates, func(n id) string {
		return layout.RevisionLink(r.name, c.digests.digest(n))
	}, nil)
	if len(young) > 0 {
		marked = Mark(slices.Values(slices.Concat(roots, young)), r.needs.from, r.referrers)
	}
	return marked, err
}

// referrers yields the referrers of a subject that are in the repository. A subject that
// does not exist keeps none.
func (r *repository) referrers(subject id) iter.Seq[id] {
	return func(yield func(id) bool) {
		if !r.revisions.has(subject) {
			return
		}
		for referrer := range r.attached.from(subject) {
			if r.revisions.has(referrer) && !yield(referrer) {
				return
			}
		}
	}
}

// roots are the manifests that are kept whether or not anything reaches them.
func (c *collector) roots(r *repository, links edges) ids {
	stays := func(n id) bool { return r.tagged.has(n) }
	if r.rule.DecidesManifests() {
		return slices.DeleteFunc(slices.Clone(r.revisions), func(n id) bool { return !stays(n) && !r.used.has(n) })
	}
	if !c.options.Untagged {
		dangling := map[id]struct{}{}
		if c.options.Dangling {
			dangling = Dangling(links.all(), r.revisions.has, stays)
		}
		return r.revisions.without(dangling).without(r.unrooted)
	}
	return slices.DeleteFunc(slices.Clone(r.revisions), func(n id) bool { return !stays(n) })
}

// young returns the items whose file was stored after the cutoff. It calls gone for
// those whose file does not exist.
func (c *collector) young(ctx context.Context, r *repository, items ids, file func(id) string, gone func(id)) (ids, error) {
	var mu sync.Mutex
	var young ids
	err := each(ctx, c.store, items, func(ctx context.Context, n id) error {
		info, err := c.store.stat(ctx, file(n))
		if err != nil {
			return c.trouble(ctx, r, err)
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case info == nil && gone != nil:
			gone(n)
		case info != nil && c.isYoung(info):
			young = append(young, n)
		}
		return nil
	})
	return young, err
}

func (c *collector) isYoung(info storagedriver.FileInfo) bool {
	return info.ModTime().After(c.cutoff)
}

// planLayers plans which layer links to remove. A new link belongs to a push in flight,
// which may need a blob that is old.
func (c *collector) planLayers(ctx context.Context, r *repository, marked map[id]struct{}) error {
	candidates := r.layers.without(marked)
	var hollow ids
	young, err := c.young(ctx, r, candidates, func(n id) string {
		return layout.LayerLink(r.name, c.digests.digest(n))
	}, func(n id) { hollow = append(hollow, n) })
	if err != nil {
		return err
	}
	for _, n := range young {
		marked[n] = struct{}{}
		for stored := range r.needs.from(n) { // if it is an alias
			marked[stored] = struct{}{}
		}
	}
	r.plan.hollowLayers = hollow.sorted()
	r.plan.layers = slices.DeleteFunc(candidates.without(marked), r.plan.hollowLayers.has)
	return nil
}

// planHollow plans which empty folders to remove that deletions left behind, on drivers
// with folders. A new one may be about to be filled.
func (c *collector) planHollow(ctx context.Context, r *repository) error {
	folders := func(folder func(id) string, list ids) (ids, error) {
		young, err := c.young(ctx, r, list, folder, nil)
		young = young.sorted()
		return slices.DeleteFunc(list, young.has), err
	}
	var err error
	r.plan.hollow, err = folders(func(n id) string { return layout.Revision(r.name, c.digests.digest(n)) }, r.hollow)
	if err != nil {
		return err
	}
	r.plan.hollowLayers, err = folders(func(n id) string { return layout.Layer(r.name, c.digests.digest(n)) }, r.plan.hollowLayers)
	if err != nil {
		return err
	}
	for _, name := range r.hollowTags {
		young, err := c.isYoungTag(ctx, r, name)
		if err != nil {
			return err
		}
		if !young {
			r.plan.hollowTags = append(r.plan.hollowTags, name)
		}
	}
	return nil
}

// isYoungTag reports whether the folder of a tag, or something in its history, is new.
func (c *collector) isYoungTag(ctx context.Context, r *repository, name string) (bool, error) {
	history, err := c.store.digests(ctx, layout.TagIndex(r.name, name))
	if err != nil {
		return false, err
	}
	files := []string{layout.Tag(r.name, name)}
	for _, d := range history {
		files = append(files, layout.TagIndexEntry(r.name, name, d)+"/"+layout.LinkName)
	}
	for _, file := range files {
		if info, err := c.store.stat(ctx, file); err != nil || info != nil && c.isYoung(info) {
			return true, err
		}
	}
	return false, nil
}

// planLinks plans which links of the index to remove: those whose referrer is removed.
// If a subject is removed and its referrer is kept, the link is kept, so that the
// subject has it again if it is pushed again.
func (r *repository) planLinks(isCanonical func(id) bool) {
	p := &r.plan
	var staying, others ids // subjects
	for _, link := range r.links {
		stored := r.revisions.has(link.to)
		switch {
		case stored && !p.revisions.has(link.to):
			staying = append(staying, link.from)
			if !isCanonical(link.to) {
				others = append(others, link.from)
			}
			continue
		case stored && !r.own.has(link):
			// Only the link says that this is a referrer. A run that is interrupted
			// between the two must leave it behind.
			p.lateLinks = append(p.lateLinks, link)
		default:
			p.links = append(p.links, link)
		}
	}
	staying, others = staying.sorted(), others.sorted()
	p.others = slices.DeleteFunc(r.others, others.has)
	p.emptyIndex = len(staying) == 0
	for _, subject := range r.subjects {
		if !staying.has(subject) {
			p.subjects = append(p.subjects, subject)
		}
	}
	for _, subject := range r.derived {
		if !staying.has(subject) {
			p.derived = append(p.derived, subject)
		}
	}
}
