package gc

import (
	"cmp"
	"slices"
)

// Count is how many of a kind are kept and removed. In a dry run, Removed is what would
// be removed.
type Count struct {
	Kept    int64
	Removed int64
}

// Problem is something that could not be read, and that a run with
// Options.SkipCorrupt therefore worked around.
type Problem struct {
	// Repository is the one that was kept as it is; empty for problems outside of
	// repositories.
	Repository string `json:"repository,omitempty"`
	// Reason says what is wrong, and where.
	Reason string `json:"reason"`
}

// Counts are the counts of a repository, or of all repositories.
type Counts struct {
	// Tags are counted only in runs with rules about which stay.
	Tags          Count
	Manifests     Count
	LayerLinks    Count
	ReferrerLinks Count
	// Bytes are the bytes of blobs and manifests. Those that are kept are counted as the
	// manifests state them. The count of a repository includes content that it shares
	// with others.
	Bytes Count
}

// RepositoryReport is what a run did in one repository.
type RepositoryReport struct {
	Name string
	Counts
	// Skipped is whether all of it was kept because something could not be read.
	Skipped bool
}

// Report is what a run did.
type Report struct {
	DryRun bool
	Counts
	Blobs Count
	// Repositories are sorted by name.
	Repositories []RepositoryReport
	Problems     []Problem
	// AllBlobsKept is whether no blob was removed because it could not be determined
	// which are needed.
	AllBlobsKept bool
}

// finishReport counts what was found when a run has ended.
func (c *collector) finishReport() {
	c.report.AllBlobsKept = c.blind
	c.report.Repositories = make([]RepositoryReport, 0, len(c.repositories))
	slices.SortFunc(c.repositories, func(a, b *repository) int { return cmp.Compare(a.name, b.name) })
	for _, r := range c.repositories {
		counts := &r.report.Counts
		counts.Tags.Kept = int64(len(r.tags) - len(r.plan.tags))
		counts.Manifests.Kept = int64(len(r.revisions) - len(r.plan.revisions))
		counts.LayerLinks.Kept = int64(len(r.layers) - len(r.plan.layers) - len(r.plan.hollowLayers))
		counts.ReferrerLinks.Kept = int64(len(r.links) - len(r.plan.links) - len(r.plan.lateLinks))
		counts.Bytes.Kept = c.bytes(r, r.revisions, r.plan.revisions) + c.bytes(r, r.layers, r.plan.layers)
		r.report.Name, r.report.Skipped = r.name, r.damaged
		c.report.Repositories = append(c.report.Repositories, r.report)

		total := &c.report.Counts
		total.Tags.add(counts.Tags)
		total.Manifests.add(counts.Manifests)
		total.LayerLinks.add(counts.LayerLinks)
		total.ReferrerLinks.add(counts.ReferrerLinks)
	}
}

func (c *Count) add(more Count) {
	c.Kept += more.Kept
	c.Removed += more.Removed
}

// bytes is the size of the content of a list, without the items of part.
func (c *collector) bytes(r *repository, list, part ids) (sum int64) {
	for _, n := range list {
		if !part.has(n) {
			sum += c.bytesOf(r, n)
		}
	}
	return sum
}

// bytesOf is the size of the content that a link leads to. The content of an alias is
// counted with the digest that it is stored under.
func (c *collector) bytesOf(r *repository, n id) int64 {
	if r.aliases.has(n) {
		return 0
	}
	return c.digests.size(n)
}
