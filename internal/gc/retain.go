package gc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/retention"
)

// tag is one tag of a repository.
type tag struct {
	name   string
	target id
	set    time.Time // zero where no rule asks for it
	// attached is whether it is named after a manifest, and subject is that if the name has
	// all of its digest.
	attached bool
	subject  digest.Digest
}

// scanTag reads when a tag was set, if a rule depends on it. The time comes after what
// the tag points to: a tag that is set in between counts as new.
func (c *collector) scanTag(ctx context.Context, r *repository, name string, target id) error {
	found := tag{name: name, target: target}
	found.subject, found.attached = retention.Subject(name)
	if r.rule.DecidesTags() {
		info, err := c.store.stat(ctx, layout.TagCurrent(r.name, name))
		if err != nil {
			return c.trouble(ctx, r, err)
		}
		if info == nil {
			return nil // it was removed this moment
		}
		found.set = info.ModTime()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags = append(r.tags, found)
	return nil
}

// scanReleased reads what an interrupted run was removing. What was pushed again since is
// left out.
func (c *collector) scanReleased(ctx context.Context, r *repository) error {
	if !r.indexed {
		return nil
	}
	record, err := c.store.stat(ctx, layout.Released(r.name))
	if err != nil || record == nil {
		return err
	}
	content, _, err := c.store.read(ctx, layout.Released(r.name))
	r.recorded = true
	return cmp.Or(err, each(ctx, c.store, strings.Fields(string(content)), func(ctx context.Context, text string) error {
		d := digest.Digest(text)
		if d.Validate() != nil {
			return nil // the record was cut off: its run has not removed anything
		}
		revision, err := c.store.stat(ctx, layout.RevisionLink(r.name, d))
		if err != nil || revision == nil || !revision.ModTime().Before(record.ModTime()) {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.released = append(r.released, c.digests.id(d))
		return nil
	}))
}

// retain decides by the rules which tags stay, and which referrers stay for their
// subjects.
func (c *collector) retain(ctx context.Context, r *repository) error {
	if c.options.Retain == nil {
		return nil
	}
	slices.SortFunc(r.tags, func(a, b tag) int { return cmp.Compare(a.name, b.name) })
	if err := c.readUses(ctx, r); err != nil {
		return err
	}
	c.judgeTags(r)
	c.judgeManifests(r)
	r.tagged, r.released, r.needs = r.tagged.sorted(), r.released.sorted(), r.needs.sorted()
	if r.rule != nil {
		r.verdicts.Rule = r.rule.Key
		if err := c.judgeReferrers(ctx, r, r.rule); err != nil {
			return err
		}
	}
	r.unroot()
	r.attached = slices.DeleteFunc(r.attached, r.beyond.has)
	return nil
}

// judgeTags sorts the tags into those that stay and those that do not. A tag that is
// named after a manifest in the repository belongs to it: the manifest needs what the tag
// points to.
func (c *collector) judgeTags(r *repository) {
	tags := make([]retention.Tag, len(r.tags))
	for i, t := range r.tags {
		tags[i] = retention.Tag{
			Name: t.name, Set: t.set, Broken: !r.revisions.has(t.target), Named: t.attached,
			Attached: t.subject != "" && r.revisions.has(c.digests.id(t.subject)), Use: r.useOf(t.target),
		}
		if t.set.After(tags[i].Use.Stored) {
			tags[i].Use.Stored = t.set
		}
	}
	for i, verdict := range r.rule.Tags(tags, c.began) {
		t := r.tags[i]
		if !verdict.Stays && t.set.After(c.cutoff) {
			verdict = retention.Verdict{Stays: true, Reason: "was set too recently to be removed"}
		}
		switch {
		case verdict.Stays:
			r.tagged = append(r.tagged, t.target)
		case verdict.Follows:
			r.needs = append(r.needs, edge{c.digests.id(t.subject), t.target})
		default:
			r.released = append(r.released, t.target)
		}
		r.verdicts.Tags = append(r.verdicts.Tags, TagVerdict{
			Name: t.name, Digest: c.digests.digest(t.target), Set: t.set, Stays: verdict.Stays, Reason: verdict.Reason, follows: verdict.Follows,
		})
	}
}

// judgeReferrers finds the referrers that do not stay for their subjects. It reads those
// of the subjects that have more than the rule keeps.
func (c *collector) judgeReferrers(ctx context.Context, r *repository, rule *retention.Rule) error {
	if rule.Referrers == 0 {
		return nil
	}
	var subjects ids
	for _, link := range r.attached {
		subjects = append(subjects, link.from)
	}
	var mu sync.Mutex
	for _, subject := range subjects.sorted() {
		list := slices.Collect(r.referrers(subject))
		if len(list) <= rule.Referrers {
			continue
		}
		var described []retention.Referrer
		err := each(ctx, c.store, list, func(ctx context.Context, n id) error {
			referrer, err := c.describe(ctx, r, n)
			if err != nil {
				return c.trouble(ctx, r, fmt.Errorf("manifest %s in %s: %w", c.digests.digest(n), r.name, err))
			}
			mu.Lock()
			defer mu.Unlock()
			described = append(described, referrer)
			return nil
		})
		if err != nil {
			return err
		}
		for _, beyond := range rule.Beyond(described) {
			r.beyond = append(r.beyond, edge{subject, c.digests.id(beyond.Digest)})
			r.verdicts.Referrers = append(r.verdicts.Referrers, ReferrerVerdict{
				Subject: c.digests.digest(subject), Digest: beyond.Digest, ArtifactType: beyond.ArtifactType, Created: beyond.Created,
				Reason: fmt.Sprintf("is not among the newest %d of its subject and type", rule.Referrers),
			})
		}
	}
	r.beyond = r.beyond.sorted()
	return nil
}

// describe reads what a rule has to know of a referrer. One that does not say when it was
// created is as old as its bytes, as in the listing.
func (c *collector) describe(ctx context.Context, r *repository, n id) (referrer retention.Referrer, err error) {
	referrer.Digest = c.digests.digest(n)
	stored := referrer.Digest
	if r.aliases.has(n) {
		link, _, err := c.store.read(ctx, layout.RevisionLink(r.name, stored))
		if stored = digest.Digest(link); err != nil || stored.Validate() != nil {
			return referrer, cmp.Or(err, errAlias)
		}
	}
	err = c.store.manifest(ctx, stored, func(content []byte) (err error) {
		referrer.ArtifactType, referrer.Created, err = c.options.Describe(content)
		return err
	})
	if err != nil || !referrer.Created.IsZero() {
		return referrer, err
	}
	info, err := c.store.stat(ctx, layout.BlobData(stored))
	if info != nil {
		referrer.Created = info.ModTime()
	}
	return referrer, err
}

// unroot finds the manifests that only what does not stay may have needed: they are no longer
// kept for their own sake, even if untagged manifests are.
func (r *repository) unroot() {
	starts := slices.Clone(r.released)
	for _, link := range r.beyond {
		starts = append(starts, link.to)
	}
	r.unrooted = Mark(slices.Values(starts), r.needs.from, r.referrers)
	for _, n := range r.tagged {
		delete(r.unrooted, n)
	}
}

// planRecord plans what to record before it is removed: once tags and manifests are gone,
// nothing else tells what they needed from manifests that never had a tag.
func (c *collector) planRecord(r *repository) {
	if c.options.Untagged {
		return // which go anyway
	}
	r.plan.released = slices.DeleteFunc(slices.Clone(r.plan.revisions), func(n id) bool {
		_, unrooted := r.unrooted[n]
		return !unrooted
	})
}

// planTags plans which tags to remove, after everything that stays is marked, and
// completes what was decided.
func (c *collector) planTags(r *repository, marked map[id]struct{}) {
	for i := range r.verdicts.Tags {
		v, t := &r.verdicts.Tags[i], r.tags[i]
		if v.follows {
			_, v.Stays = marked[t.target]
			v.Reason = fmt.Sprintf("belongs to %s, which goes", t.subject)
			if v.Stays {
				v.Reason = fmt.Sprintf("belongs to %s, which stays", t.subject)
			}
		}
		if !v.Stays {
			r.plan.tags = append(r.plan.tags, t)
		}
	}
	for i := range r.verdicts.Referrers {
		v := &r.verdicts.Referrers[i]
		if _, v.Stays = marked[c.digests.id(v.Digest)]; v.Stays {
			v.Reason += ", but is tagged, used, new, or needed by another manifest"
		}
	}
	c.finishManifests(r, marked)
}

// record writes what is planned to be recorded.
func (c *collector) record(ctx context.Context, r *repository) error {
	if c.options.DryRun || len(r.plan.released) == 0 {
		return nil
	}
	var text strings.Builder
	for _, n := range r.plan.released {
		fmt.Fprintln(&text, c.digests.digest(n))
	}
	err := c.store.write(ctx, layout.Released(r.name), []byte(text.String()))
	if err == nil || ctx.Err() != nil {
		return err
	}
	// The storage may be full, and is not as soon as something is removed.
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unrecorded = cmp.Or(c.unrecorded, fmt.Errorf("recording what no tag in %s will name, in case this run is interrupted: %w", r.name, err))
	return nil
}

// untag removes tags, unless they were set meanwhile.
func (c *collector) untag(ctx context.Context, r *repository, tags []tag) error {
	return each(ctx, c.store, tags, func(ctx context.Context, t tag) error {
		info, err := c.store.stat(ctx, layout.TagCurrent(r.name, t.name))
		if err != nil || info == nil || !info.ModTime().Equal(t.set) {
			return err
		}
		return c.remove(ctx, layout.Tag(r.name, t.name), func() { r.report.Tags.Removed++ })
	})
}

// forget removes the record, when all that is in it is gone.
func (c *collector) forget(ctx context.Context, r *repository) error {
	if c.options.DryRun || r.damaged || len(r.plan.released) == 0 && !r.recorded {
		return nil
	}
	files, _, err := c.store.list(ctx, layout.Refs(r.name))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasPrefix(file, layout.Released(r.name)+".") { // a run was interrupted while it wrote it
			if err := c.removeMarker(ctx, file); err != nil {
				return err
			}
		}
	}
	if err := c.remove(ctx, layout.Released(r.name), nil); err != nil {
		return err
	}
	return c.removeEmpty(ctx, layout.Refs(r.name), 0)
}
