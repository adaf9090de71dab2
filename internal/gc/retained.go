package gc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// Retained is what the rules make of one repository.
type Retained struct {
	Name string `json:"name"`
	// Rule is the rule's place in the configuration, empty if there is none for the
	// repository.
	Rule string `json:"rule,omitempty"`
	// Tags are sorted by name.
	Tags []TagVerdict `json:"tags"`
	// Referrers are those that are not among the newest of their subject and artifactType.
	Referrers []ReferrerVerdict `json:"referrers"`
	// Manifests are those that no tag needs which stays, if the rule is about pulls.
	Manifests []ManifestVerdict `json:"manifests,omitempty"`
	// Emptied is whether the repository has tags and none of them stays.
	Emptied bool `json:"emptied"`
}

// TagVerdict says whether a tag stays, and why.
type TagVerdict struct {
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
	// Set is when the tag was last set; zero where no rule asks for it.
	Set    time.Time `json:"set,omitzero"`
	Stays  bool      `json:"stays"`
	Reason string    `json:"reason"`

	follows bool // it stays as long as the manifest that it is named after
}

// ReferrerVerdict says whether a referrer stays, and why.
type ReferrerVerdict struct {
	Subject      digest.Digest `json:"subject"`
	Digest       digest.Digest `json:"digest"`
	ArtifactType string        `json:"artifactType"`
	Created      time.Time     `json:"created"`
	Stays        bool          `json:"stays"`
	Reason       string        `json:"reason"`
}

// Retention reads repositories, all if none is named, and returns what options.Retain
// makes of them, sorted by name. Nothing is removed. A repository that does not exist or
// cannot be read is an error.
func Retention(ctx context.Context, driver storagedriver.StorageDriver, options Options, names ...string) ([]Retained, error) {
	options.DryRun, options.SkipCorrupt = true, false
	c := newCollector(driver, options)
	if err := c.findRepositories(ctx); err != nil {
		return nil, err
	}
	if len(names) > 0 {
		found := map[string]*repository{}
		for _, r := range c.repositories {
			found[r.name] = r
		}
		c.repositories = nil
		for _, name := range names {
			r := found[name]
			if r == nil {
				return nil, fmt.Errorf("%s: there is no such repository", name)
			}
			c.repositories = append(c.repositories, r)
			found[name] = r
		}
	}
	slices.SortFunc(c.repositories, func(a, b *repository) int { return cmp.Compare(a.name, b.name) })
	c.repositories = slices.Compact(c.repositories)
	if err := each(ctx, c.store, c.repositories, c.inspect); err != nil {
		return nil, err
	}
	list := make([]Retained, 0, len(c.repositories))
	for _, r := range c.repositories {
		retained := r.verdicts
		retained.Name, retained.Emptied = r.name, r.empties()
		retained.Tags = append([]TagVerdict{}, retained.Tags...)
		retained.Referrers = append([]ReferrerVerdict{}, retained.Referrers...)
		list = append(list, retained)
	}
	return list, nil
}

// empties reports whether no tag of a repository stays that has some.
func (r *repository) empties() bool { return len(r.tags) > 0 && len(r.plan.tags) == len(r.tags) }
