package gc

import (
	"cmp"
	"context"
	"path"
	"sync"

	"github.com/oras-distribution/registry/internal/layout"
)

// sweep removes what is planned. A dry run only counts it.
func (c *collector) sweep(ctx context.Context) error {
	removals := len(c.garbage)
	for _, r := range c.repositories {
		p := &r.plan
		removals += len(p.tags) + len(p.revisions) + len(p.layers) + len(p.links) + len(p.lateLinks)
	}
	c.options.Progress.Expect(c.removed(), int64(removals))
	if err := each(ctx, c.store, c.repositories, c.sweepRepository); err != nil {
		return err
	}
	// Blobs are removed last: nothing must lead to one that is gone.
	return cmp.Or(c.sweepBlobs(ctx, c.garbage), c.unrecorded)
}

func (c *collector) sweepBlobs(ctx context.Context, blobs ids) error {
	return each(ctx, c.store, blobs, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.BlobFolder(c.digests.digest(n)), func() {
			c.report.Blobs.Removed++
			c.report.Bytes.Removed += c.digests.size(n)
			c.options.Progress.Add("bytes", c.digests.size(n))
		})
	})
}

// removed is the name of the counter of what is removed.
func (c *collector) removed() string {
	if c.options.DryRun {
		return "removable"
	}
	return "removed"
}

// sweepRepository removes what is planned in a repository. References are removed before
// their targets.
func (c *collector) sweepRepository(ctx context.Context, r *repository) error {
	for _, step := range []func(context.Context, *repository) error{
		c.record,
		func(ctx context.Context, r *repository) error { return c.untag(ctx, r, r.plan.tags) },
		func(ctx context.Context, r *repository) error { return c.sweepLinks(ctx, r, r.plan.links) },
		c.sweepTags,
		c.sweepRevisions,
		c.sweepRecords,
		func(ctx context.Context, r *repository) error { return c.sweepLinks(ctx, r, r.plan.lateLinks) },
		c.forget,
		c.sweepDerived,
		c.sweepIndex,
		c.sweepLayers,
	} {
		if err := step(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// remove removes one path. If it existed, counted is called to count it.
func (c *collector) remove(ctx context.Context, file string, counted func()) error {
	if !c.options.DryRun {
		there, err := c.store.remove(ctx, file)
		if err != nil || !there {
			return err
		}
	}
	if counted != nil {
		c.options.Progress.Add(c.removed(), 1)
		c.mu.Lock()
		defer c.mu.Unlock()
		counted()
	}
	return nil
}

func (c *collector) sweepLinks(ctx context.Context, r *repository, links edges) error {
	return each(ctx, c.store, links, func(ctx context.Context, link edge) error {
		folder := layout.Referrer(r.name, c.digests.digest(link.from), c.digests.digest(link.to))
		return c.remove(ctx, folder, func() { r.report.ReferrerLinks.Removed++ })
	})
}

// sweepTags removes the manifests that are to be removed from the histories of all tags.
func (c *collector) sweepTags(ctx context.Context, r *repository) error {
	if c.options.DryRun || len(r.plan.revisions) == 0 {
		return nil
	}
	histories, err := c.histories(ctx, r, r.plan.revisions)
	if err != nil {
		return err
	}
	return c.removeFromTags(ctx, r, r.plan.revisions, histories)
}

// histories are the tags that once pointed to manifests. The history of each tag is read
// once.
func (c *collector) histories(ctx context.Context, r *repository, manifests ids) (map[id][]string, error) {
	tags, _, err := c.store.list(ctx, layout.Tags(r.name))
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	found := map[id][]string{}
	err = each(ctx, c.store, tags, func(ctx context.Context, folder string) error {
		tag := path.Base(folder)
		history, err := c.store.digests(ctx, layout.TagIndex(r.name, tag))
		mu.Lock()
		defer mu.Unlock()
		for _, d := range history {
			if n := c.digests.id(d); manifests.has(n) {
				found[n] = append(found[n], tag)
			}
		}
		return err
	})
	return found, err
}

func (c *collector) removeFromTags(ctx context.Context, r *repository, manifests ids, histories map[id][]string) error {
	return each(ctx, c.store, manifests, func(ctx context.Context, n id) error {
		for _, tag := range histories[n] {
			if err := c.remove(ctx, layout.TagIndexEntry(r.name, tag, c.digests.digest(n)), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *collector) sweepRevisions(ctx context.Context, r *repository) error {
	err := c.removeRevisions(ctx, r, r.plan.revisions)
	if err != nil || c.options.DryRun {
		return err
	}
	err = each(ctx, c.store, r.plan.hollow, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.Revision(r.name, c.digests.digest(n)), nil)
	})
	if err != nil {
		return err
	}
	return each(ctx, c.store, r.plan.hollowTags, func(ctx context.Context, name string) error {
		if info, err := c.store.stat(ctx, layout.TagCurrent(r.name, name)); err != nil || info != nil {
			return err
		}
		return c.remove(ctx, layout.Tag(r.name, name), nil)
	})
}

func (c *collector) removeRevisions(ctx context.Context, r *repository, revisions ids) error {
	return each(ctx, c.store, revisions, func(ctx context.Context, n id) error {
		err := c.remove(ctx, layout.Revision(r.name, c.digests.digest(n)), func() {
			r.report.Manifests.Removed++
			r.report.Bytes.Removed += c.bytesOf(r, n)
		})
		return cmp.Or(err, c.removePulls(ctx, r, n))
	})
}

func (c *collector) removeLayers(ctx context.Context, r *repository, layers ids) error {
	return each(ctx, c.store, layers, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.Layer(r.name, c.digests.digest(n)), func() {
			r.report.LayerLinks.Removed++
			r.report.Bytes.Removed += c.bytesOf(r, n)
		})
	})
}

func (c *collector) sweepLayers(ctx context.Context, r *repository) error {
	err := c.removeLayers(ctx, r, r.plan.layers)
	if err != nil || c.options.DryRun {
		return err
	}
	return each(ctx, c.store, r.plan.hollowLayers, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.Layer(r.name, c.digests.digest(n)), nil)
	})
}

// sweepDerived removes the derived files of subjects that no longer have referrers.
// Nothing depends on that: derived files contain facts about manifests, which stay true
// when the manifests are gone.
func (c *collector) sweepDerived(ctx context.Context, r *repository) error {
	return each(ctx, c.store, r.plan.derived, func(ctx context.Context, subject id) error {
		return c.remove(ctx, layout.DerivedSubject(r.name, c.digests.digest(subject)), nil)
	})
}

// sweepIndex removes the folders of the index that have become empty. It checks each
// again: a push may have put a link into it.
func (c *collector) sweepIndex(ctx context.Context, r *repository) error {
	if c.options.DryRun || !r.indexed || r.damaged {
		return nil
	}
	p := &r.plan
	markers := r.markers
	for _, subject := range p.others {
		markers = append(markers, layout.OtherReferrers(r.name, c.digests.digest(subject)))
	}
	if err := each(ctx, c.store, markers, c.removeMarker); err != nil {
		return err
	}
	err := each(ctx, c.store, p.subjects, func(ctx context.Context, n id) error {
		return c.removeEmpty(ctx, layout.Subject(r.name, c.digests.digest(n)), 1)
	})
	if err != nil || len(p.subjects)+len(p.derived) == 0 && !p.emptyIndex {
		return err
	}
	for _, folder := range []string{layout.Subjects(r.name), layout.DerivedSubjects(r.name)} {
		if err := c.removeEmpty(ctx, folder, 1); err != nil {
			return err
		}
	}
	for _, folder := range []string{layout.Derived(r.name), layout.Refs(r.name)} {
		if err := c.removeEmpty(ctx, folder, 0); err != nil {
			return err
		}
	}
	return nil
}

// removeMarker removes what a repair left behind that was cut off, and what says that
// there are links of other algorithms, unless the repair or a push is under way.
func (c *collector) removeMarker(ctx context.Context, file string) error {
	info, err := c.store.stat(ctx, file)
	if err != nil || info == nil || c.isYoung(info) {
		return err
	}
	return c.remove(ctx, file, nil)
}

// removeEmpty removes a folder, and before that the folders in it to the given
// depth, if no file is below it.
func (c *collector) removeEmpty(ctx context.Context, folder string, depth int) error {
	paths, there, err := c.store.list(ctx, folder)
	if err == nil && len(paths) > 0 && depth > 0 {
		for _, below := range paths {
			if err := c.removeEmpty(ctx, below, depth-1); err != nil {
				return err
			}
		}
		paths, there, err = c.store.list(ctx, folder)
	}
	if err != nil || !there || len(paths) > 0 {
		return err
	}
	return c.remove(ctx, folder, nil)
}
