package gc

import (
	"cmp"
	"slices"
)

// Count is how many of a kind stay and go. In a dry run, Removed is what would go.
type Count struct {
	Kept    int64 `json:"kept"`
	Removed int64 `json:"removed"`
}

// Problem is something that could not be read, and that a run with
// Options.SkipCorrupt therefore worked around.
type Problem struct {
	// Repository is the one that was kept as it is; empty if it was none in particular.
	Repository string `json:"repository,omitempty"`
	// Reason names what is wrong, and where.
	Reason string `json:"reason"`
}

// Counts are those that there are of a repository and of all of them.
type Counts struct {
	Manifests     Count `json:"manifests"`
	LayerLinks    Count `json:"layerLinks"`
	ReferrerLinks Count `json:"referrerLinks"`
	// Bytes are those of blobs and manifests. What stays is counted as the manifests
	// state it. Of a repository, they include what it shares with others.
	Bytes Count `json:"bytes"`
}

// RepositoryReport is what a run did in one repository.
type RepositoryReport struct {
	Name string `json:"name"`
	Counts
	// Skipped is whether all of it was kept because something could not be read.
	Skipped bool `json:"skipped,omitempty"`
}

// Report is what a run did.
type Report struct {
	DryRun bool `json:"dryRun"`
	Counts
	Blobs Count `json:"blobs"`
	// Repositories are sorted by name.
	Repositories []RepositoryReport `json:"repositories,omitempty"`
	Problems     []Problem          `json:"problems,omitempty"`
	// AllBlobsKept is whether no blob was removed because it could not be found
	// out which are needed.
	AllBlobsKept bool `json:"allBlobsKept,omitempty"`
}

// finishReport counts what was found when a run has ended.
func (c *collector) finishReport() {
	c.report.AllBlobsKept = c.blind
	c.report.Repositories = make([]RepositoryReport, 0, len(c.repositories))
	slices.SortFunc(c.repositories, func(a, b *repository) int { return cmp.Compare(a.name, b.name) })
	for _, r := range c.repositories {
		counts := &r.report.Counts
		counts.Manifests.Kept = int64(len(r.revisions) - len(r.plan.revisions))
		counts.LayerLinks.Kept = int64(len(r.layers) - len(r.plan.layers) - len(r.plan.hollowLayers))
		counts.ReferrerLinks.Kept = int64(len(r.links) - len(r.plan.links) - len(r.plan.lateLinks))
		counts.Bytes.Kept = c.bytes(r, r.revisions, r.plan.revisions) + c.bytes(r, r.layers, r.plan.layers)
		r.report.Name, r.report.Skipped = r.name, r.damaged
		c.report.Repositories = append(c.report.Repositories, r.report)

		total := &c.report.Counts
		total.Manifests.add(counts.Manifests)
		total.LayerLinks.add(counts.LayerLinks)
		total.ReferrerLinks.add(counts.ReferrerLinks)
	}
}

func (c *Count) add(more Count) {
	c.Kept += more.Kept
	c.Removed += more.Removed
}

// bytes is the size of the content of a list without that of a part of it.
func (c *collector) bytes(r *repository, list, part ids) (sum int64) {
	for _, n := range list {
		if !part.has(n) {
			sum += c.bytesOf(r, n)
		}
	}
	return sum
}

// bytesOf is the size of what a link of a repository stands for. Those of an alias
// are counted with the digest that they are stored under.
func (c *collector) bytesOf(r *repository, n id) int64 {
	if r.aliases.has(n) {
		return 0
	}
	return c.digests.size(n)
}
