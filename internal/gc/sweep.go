package gc

import (
	"context"
	"path"

	"github.com/oras-distribution/registry/internal/layout"
)

// sweep removes what is planned. A dry run only counts it.
func (c *collector) sweep(ctx context.Context) error {
	removals := len(c.garbage)
	for _, r := range c.repositories {
		p := &r.plan
		removals += len(p.revisions) + len(p.layers) + len(p.links) + len(p.lateLinks)
	}
	c.options.Progress.Expect("removed", int64(removals))
	if err := each(ctx, c.store, c.repositories, c.sweepRepository); err != nil {
		return err
	}
	// Blobs are removed last: nothing must lead to one that is gone.
	return each(ctx, c.store, c.garbage, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.BlobFolder(c.digests.digest(n)), func() {
			c.report.Blobs.Removed++
			c.report.Bytes.Removed += c.digests.size(n)
			c.options.Progress.Add("bytes", c.digests.size(n))
		})
	})
}

// sweepRepository removes what is planned in a repository. References are removed before
// their targets.
func (c *collector) sweepRepository(ctx context.Context, r *repository) error {
	for _, step := range []func(context.Context, *repository) error{
		func(ctx context.Context, r *repository) error { return c.sweepLinks(ctx, r, r.plan.links) },
		c.sweepTags,
		c.sweepRevisions,
		func(ctx context.Context, r *repository) error { return c.sweepLinks(ctx, r, r.plan.lateLinks) },
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
		c.options.Progress.Add("removed", 1)
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

// sweepTags removes the manifests that are to be removed from the histories of all
// tags. Each history is read once.
func (c *collector) sweepTags(ctx context.Context, r *repository) error {
	if c.options.DryRun || len(r.plan.revisions) == 0 {
		return nil
	}
	tags, _, err := c.store.list(ctx, layout.Tags(r.name))
	if err != nil {
		return err
	}
	return each(ctx, c.store, tags, func(ctx context.Context, folder string) error {
		tag := path.Base(folder)
		history, err := c.store.digests(ctx, layout.TagIndex(r.name, tag))
		if err != nil {
			return err
		}
		for _, d := range history {
			if r.plan.revisions.has(c.digests.id(d)) {
				if err := c.remove(ctx, layout.TagIndexEntry(r.name, tag, d), nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (c *collector) sweepRevisions(ctx context.Context, r *repository) error {
	err := each(ctx, c.store, r.plan.revisions, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.Revision(r.name, c.digests.digest(n)), func() {
			r.report.Manifests.Removed++
			r.report.Bytes.Removed += c.bytesOf(r, n)
		})
	})
	if err != nil || c.options.DryRun {
		return err
	}
	return each(ctx, c.store, r.plan.hollow, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.Revision(r.name, c.digests.digest(n)), nil)
	})
}

func (c *collector) sweepLayers(ctx context.Context, r *repository) error {
	err := each(ctx, c.store, r.plan.layers, func(ctx context.Context, n id) error {
		return c.remove(ctx, layout.Layer(r.name, c.digests.digest(n)), func() {
			r.report.LayerLinks.Removed++
			r.report.Bytes.Removed += c.bytesOf(r, n)
		})
	})
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
	if err := each(ctx, c.store, r.markers, c.removeMarker); err != nil {
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

// removeMarker removes what a repair left behind that was cut off, unless it is
// under way.
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
