// Package retention decides by rules which tags of a repository and which referrers of
// a manifest stay, and which tags cannot be moved. It only decides: the collector reads
// what it has to know, and removes what does not stay.
package retention

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/manifest"
)

// Rules are the rules of a configuration. Nil has none.
type Rules struct {
	rules     []*Rule
	immutable []protection
}

// Rule says what stays in the repositories that it is for.
type Rule struct {
	// Key is the rule's place in the configuration.
	Key string
	// Keep says which tags stay. Nil: all of them.
	Keep *Keep
	// Referrers is how many referrers of each subject and artifactType stay. 0: all of
	// them.
	Referrers int
	// Pulled keeps manifests that were pulled within this time, and their tags. 0: pulls
	// do not matter.
	Pulled time.Duration

	repositories patterns
	id           string
}

// Keep says which tags stay: those of which at least one member says so.
type Keep struct {
	// Newest keeps this many tags, those that were set last.
	Newest int
	// Younger keeps tags that were set within this time.
	Younger time.Duration

	matching patterns
}

// protection makes tags immutable.
type protection struct{ repositories, tags patterns }

// Empty reports whether there are no rules about what stays.
func (r *Rules) Empty() bool { return r == nil || len(r.rules) == 0 }

// For is the first rule that is for a repository, nil if there is none: then everything
// in it stays.
func (r *Rules) For(repository string) *Rule {
	if r == nil {
		return nil
	}
	for _, rule := range r.rules {
		if rule.repositories.match(repository) != "" {
			return rule
		}
	}
	return nil
}

// Immutable reports which tags of a repository are immutable. Nil: none of them.
func (r *Rules) Immutable(repository string) func(tag string) bool {
	if r == nil {
		return nil
	}
	var tags patterns
	for _, p := range r.immutable {
		if p.repositories.match(repository) != "" {
			tags = append(tags, p.tags...)
		}
	}
	if len(tags) == 0 {
		return nil
	}
	return func(tag string) bool { return tags.match(tag) != "" }
}

// Tag is what a rule has to know of a tag.
type Tag struct {
	Name string
	// Set is when the tag was last set.
	Set time.Time
	// Broken is whether the manifest that it names is not in the repository.
	Broken bool
	// Named is whether it is named after a manifest: see Subject.
	Named bool
	// Attached is whether that manifest is known to be in the repository.
	Attached bool
	// Use is when its manifest was used, if the rule asks for it.
	Use Use
}

// Verdict says whether a tag stays, and why.
type Verdict struct {
	Stays  bool
	Reason string
	// Follows is whether the tag stays as long as the manifest that it is named after.
	// Then Stays is not decided.
	Follows bool
}

// Tags decides about the tags of a repository, in their order. A tag that is named after
// a manifest does not count among the newest: it stays as long as the manifest, as does
// what refers to it in other ways. If the manifest is not known to be in the repository, it
// stays: it may be of one that has another name here. A broken one does not count either.
func (r *Rule) Tags(tags []Tag, now time.Time) []Verdict {
	verdicts := make([]Verdict, len(tags))
	newest := r.newest(tags)
	for i, tag := range tags {
		verdicts[i] = r.verdict(tag, now, newest[i])
	}
	return verdicts
}

func (r *Rule) verdict(tag Tag, now time.Time, newest bool) Verdict {
	if !r.DecidesTags() {
		return Verdict{Stays: true, Reason: "all tags stay"}
	}
	keep := r.Keep
	if keep == nil {
		keep = &Keep{}
	}
	pattern := keep.matching.match(tag.Name)
	switch {
	case pattern != "":
		return Verdict{Stays: true, Reason: "matches " + pattern}
	case tag.Attached:
		return Verdict{Follows: true, Reason: "belongs to another manifest"}
	case tag.Named:
		return Verdict{Stays: true, Reason: "is named after a manifest that is not known to be in the repository"}
	case newest:
		return Verdict{Stays: true, Reason: fmt.Sprintf("is among the newest %d", keep.Newest)}
	case keep.Younger > 0 && now.Sub(tag.Set) < keep.Younger:
		return Verdict{Stays: true, Reason: "is younger than " + formatAge(keep.Younger)}
	}
	verdict := r.InUse(tag.Use, now)
	switch {
	case r.Pulled == 0:
		verdict.Reason = "nothing in " + r.Key + ".keep keeps it"
	case !verdict.Stays && r.Keep != nil:
		verdict.Reason += ", and nothing in " + r.Key + ".keep keeps it"
	}
	return verdict
}

// DecidesTags reports whether tags may go.
func (r *Rule) DecidesTags() bool { return r != nil && (r.Keep != nil || r.Pulled > 0) }

// newest are the positions of the newest tags that the rule keeps. Of tags that were set
// at the same time, those with the greater names count as newer.
func (r *Rule) newest(tags []Tag) map[int]bool {
	if r == nil || r.Keep == nil || r.Keep.Newest == 0 {
		return nil
	}
	var counted []int
	for i, tag := range tags {
		if !tag.Broken && !tag.Named {
			counted = append(counted, i)
		}
	}
	slices.SortFunc(counted, func(a, b int) int {
		return cmp.Or(tags[b].Set.Compare(tags[a].Set), cmp.Compare(tags[b].Name, tags[a].Name))
	})
	newest := map[int]bool{}
	for _, i := range counted[:min(len(counted), r.Keep.Newest)] {
		newest[i] = true
	}
	return newest
}

// Subject is the manifest that a tag is named after: where there is no API of referrers,
// clients attach lists of them (sha256-…) and signatures (sha256-….sig) by such tags. It is
// empty if the tag has only the beginning of the digest.
func Subject(tag string) (digest.Digest, bool) {
	name, _, _ := strings.Cut(tag, ".")
	return manifest.SubjectOfTag(name)
}

// Referrer is what a rule has to know of a referrer.
type Referrer struct {
	Digest       digest.Digest
	ArtifactType string
	// Created is its time in the listing of the OCI API.
	Created time.Time
}

// Beyond returns those of the referrers of one subject that are not among the newest of
// their artifactType, oldest first.
func (r *Rule) Beyond(referrers []Referrer) []Referrer {
	if r == nil || r.Referrers == 0 {
		return nil
	}
	ordered := slices.Clone(referrers)
	slices.SortFunc(ordered, func(a, b Referrer) int { // as the OCI API lists them
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Digest, b.Digest))
	})
	left := map[string]int{}
	for _, referrer := range ordered {
		left[referrer.ArtifactType]++
	}
	return slices.DeleteFunc(ordered, func(referrer Referrer) bool {
		left[referrer.ArtifactType]--
		return left[referrer.ArtifactType] < r.Referrers
	})
}
