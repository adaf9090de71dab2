package registry

import "github.com/oras-distribution/registry/internal/gc"

// jsonCount is how many of a kind are "kept", and "removed" or, in a dry run, "removable".
type jsonCount map[string]int64

// jsonCounts are those of a repository, or of all.
type jsonCounts struct {
	Tags          jsonCount `json:"tags,omitempty"` // with rules about which stay
	Manifests     jsonCount `json:"manifests"`
	LayerLinks    jsonCount `json:"layerLinks"`
	ReferrerLinks jsonCount `json:"referrerLinks"`
	Bytes         jsonCount `json:"bytes"`
}

// jsonRepository is what a run did in one repository.
type jsonRepository struct {
	Name string `json:"name"`
	jsonCounts
	Skipped bool `json:"skipped,omitempty"`
}

// jsonReport is what a run did.
type jsonReport struct {
	DryRun bool `json:"dryRun"`
	jsonCounts
	Blobs        jsonCount        `json:"blobs"`
	Repositories []jsonRepository `json:"repositories,omitempty"`
	Problems     []gc.Problem     `json:"problems,omitempty"`
	AllBlobsKept bool             `json:"allBlobsKept,omitempty"`
}

// reportAs is a report as JSON. The verb says what has happened to what is not kept.
func reportAs(verb string, report gc.Report) jsonReport {
	count := func(c gc.Count) jsonCount { return jsonCount{"kept": c.Kept, verb: c.Removed} }
	counts := func(c gc.Counts) jsonCounts {
		shown := jsonCounts{nil, count(c.Manifests), count(c.LayerLinks), count(c.ReferrerLinks), count(c.Bytes)}
		if c.Tags != (gc.Count{}) {
			shown.Tags = count(c.Tags)
		}
		return shown
	}
	shown := jsonReport{
		DryRun: report.DryRun, jsonCounts: counts(report.Counts), Blobs: count(report.Blobs),
		Problems: report.Problems, AllBlobsKept: report.AllBlobsKept,
	}
	for _, r := range report.Repositories {
		shown.Repositories = append(shown.Repositories, jsonRepository{r.Name, counts(r.Counts), r.Skipped})
	}
	return shown
}
