package gc

import (
	"context"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/pulls"
	"github.com/oras-distribution/registry/internal/retention"
)

// scanPulls lists the manifests of which there are records of pulls. It comes before the
// manifests: what is not among those is gone.
func (c *collector) scanPulls(ctx context.Context, r *repository) error {
	if !r.rule.DecidesManifests() || !r.indexed {
		return nil
	}
	list, err := c.store.digests(ctx, pulls.Folder(r.name))
	for _, d := range list {
		r.recordedPulls = append(r.recordedPulls, c.digests.id(d))
	}
	r.recordedPulls = r.recordedPulls.sorted()
	return err
}

// readUses reads when the manifests were used, if the rule asks for it.
func (c *collector) readUses(ctx context.Context, r *repository) error {
	if !r.rule.DecidesManifests() {
		return nil
	}
	since, err := c.recordedSince(ctx, r.rule)
	if err != nil {
		return err
	}
	r.use = retention.Use{Since: since}
	if r.rule.InUse(r.use, c.began).Stays { // all of them do
		return nil
	}
	var mu sync.Mutex
	r.uses = make(map[id]retention.Use, len(r.revisions))
	return each(ctx, c.store, r.revisions, func(ctx context.Context, n id) error {
		use, err := c.readUse(ctx, r, n, r.use)
		if err != nil {
			return c.trouble(ctx, r, err)
		}
		mu.Lock()
		defer mu.Unlock()
		r.uses[n] = use
		return nil
	})
}

// readUse reads when a manifest was used. When it was pushed does not matter if it was
// pulled.
func (c *collector) readUse(ctx context.Context, r *repository, n id, use retention.Use) (retention.Use, error) {
	d := c.digests.digest(n)
	if r.recordedPulls.has(n) {
		_, err := c.store.do(ctx, "reading", pulls.Of(r.name, d), func() (err error) {
			use.Pulled, err = c.pulls.Last(ctx, r.name, d)
			return err
		})
		if err != nil || r.rule.InUse(use, c.began).Stays {
			return use, err
		}
	}
	info, err := c.store.stat(ctx, layout.RevisionLink(r.name, d))
	if info != nil {
		use.Stored = info.ModTime()
	}
	return use, err
}

// recordedSince is since when the pulls that a rule asks for have been recorded.
func (c *collector) recordedSince(ctx context.Context, rule *retention.Rule) (time.Time, error) {
	c.sinceMu.Lock()
	defer c.sinceMu.Unlock()
	if since, known := c.since[rule.ID()]; known {
		return since, nil
	}
	since, err := c.pulls.Since(ctx, rule, c.began)
	if err == nil {
		c.since[rule.ID()] = since
	}
	return since, err
}

// useOf is when a manifest was used, r.use if it is not in the repository.
func (r *repository) useOf(n id) retention.Use {
	if use, known := r.uses[n]; known {
		return use
	}
	return r.use
}

// judgeManifests finds the manifests that stay because they were used.
func (c *collector) judgeManifests(r *repository) {
	if !r.rule.DecidesManifests() {
		return
	}
	var named ids // by tags
	for _, t := range r.tags {
		named = append(named, t.target)
	}
	named = named.sorted()
	for _, n := range r.revisions {
		use := r.useOf(n)
		verdict := r.rule.InUse(use, c.began)
		if verdict.Stays {
			r.used = append(r.used, n)
		}
		if !named.has(n) {
			r.verdicts.Manifests = append(r.verdicts.Manifests, ManifestVerdict{
				Digest: c.digests.digest(n), Pulled: use.Pulled, Stored: use.Stored, Stays: verdict.Stays, Reason: verdict.Reason,
			})
		}
	}
}

// finishManifests leaves those verdicts that are not about what tags need.
func (c *collector) finishManifests(r *repository, marked map[id]struct{}) {
	if len(r.verdicts.Manifests) == 0 {
		return
	}
	needed := Mark(slices.Values(r.tagged), r.needs.from, r.referrers)
	r.verdicts.Manifests = slices.DeleteFunc(r.verdicts.Manifests, func(v ManifestVerdict) bool {
		_, is := needed[c.digests.id(v.Digest)]
		return is
	})
	for i := range r.verdicts.Manifests {
		v := &r.verdicts.Manifests[i]
		if _, stays := marked[c.digests.id(v.Digest)]; stays && !v.Stays {
			v.Stays = true
			v.Reason += ", but is new, or needed by another manifest"
		}
	}
}

// removeStray removes the records of manifests that are not in the repository any more.
func (c *collector) removeStray(ctx context.Context, r *repository) error {
	if c.options.DryRun || r.damaged {
		return nil
	}
	return each(ctx, c.store, slices.DeleteFunc(slices.Clone(r.recordedPulls), r.revisions.has), func(ctx context.Context, n id) error {
		return c.remove(ctx, pulls.Of(r.name, c.digests.digest(n)), nil)
	})
}

// sweepRecords removes the records of manifests that are not there, and the folders that are
// empty then.
func (c *collector) sweepRecords(ctx context.Context, r *repository) error {
	if err := c.removeStray(ctx, r); err != nil || c.options.DryRun || r.damaged || !r.indexed || !r.rule.DecidesManifests() {
		return err
	}
	stays := func(n id) bool { return r.revisions.has(n) && !r.plan.revisions.has(n) }
	if slices.ContainsFunc(r.recordedPulls, stays) {
		return nil
	}
	return c.removeEmpty(ctx, path.Dir(layout.Records(r.name, retention.Name)), 3)
}

// removePulls removes the records of a manifest that has been removed.
func (c *collector) removePulls(ctx context.Context, r *repository, n id) error {
	if c.options.DryRun || !r.recordedPulls.has(n) {
		return nil
	}
	return c.remove(ctx, pulls.Of(r.name, c.digests.digest(n)), nil)
}

// RemoveStray removes what was recorded about manifests that were not there.
func (f *Found) RemoveStray(ctx context.Context) error {
	return each(ctx, f.c.store, f.c.repositories, f.c.removeStray)
}

// ManifestVerdict says whether a manifest stays that no tag needs which stays, and why.
type ManifestVerdict struct {
	Digest digest.Digest `json:"digest"`
	// Pulled is when it was last recorded that it was pulled, Stored when it was pushed;
	// zero where that was not asked.
	Pulled time.Time `json:"pulled,omitzero"`
	Stored time.Time `json:"stored,omitzero"`
	Stays  bool      `json:"stays"`
	Reason string    `json:"reason"`
}
