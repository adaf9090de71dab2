package gc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// No rule removes what a tag that stays needs, or what another rule keeps.
func TestRandomRetention(t *testing.T) {
	for seed := range uint64(150 / sparse) {
		tree := newTree(t, inmemory.New())
		random := rand.New(rand.NewPCG(seed, 11))
		randomReferrers(tree, random)
		before := files(t, tree.driver)
		parts := []string{
			fmt.Sprintf("keep: {newest: %d}", 1+random.IntN(4)),
			fmt.Sprintf(`keep: {matching: ["*%d", "*%d"]}`, random.IntN(10), random.IntN(10)),
		}
		beyond := fmt.Sprintf(", referrers: {newest: %d}", 1+random.IntN(3))
		untagged := seed%2 == 0
		var kept []map[string]string
		for _, part := range append(parts, strings.TrimSuffix(parts[0], "}")+", "+strings.TrimPrefix(parts[1], "keep: {")) {
			for _, rule := range []string{part, part + beyond} {
				driver := copyTo(t, before, inmemory.New())
				options := Options{Retain: keeping(t, rule), Untagged: untagged, Dangling: seed%3 == 0}
				collect(t, driver, options)
				after := files(t, driver)
				kept = append(kept, after)
				checkReached(t, seed, rule, before, after)
				if untagged && rule == part {
					if got, want := revisions(after), slices.Sorted(maps.Keys(reachable(withTagsOf(before, after)))); !slices.Equal(got, want) {
						t.Errorf("seed %d: %s leaves %v, reachable are %v", seed, rule, got, want)
					}
				}
				if again := collect(t, driver, options); removals(again)+again.Tags.Removed != 0 {
					t.Errorf("seed %d: the second run of %s removes %+v", seed, rule, again)
				}
			}
		}
		for i, one := range kept[:4] { // the last two keep what the first and the second keep
			for _, revision := range revisions(one) {
				if both := kept[4+i%2]; !slices.Contains(revisions(both), revision) {
					t.Errorf("seed %d: %s of %v is removed by a rule that keeps more", seed, revision, parts)
				}
			}
		}
	}
}

// withTagsOf are the files before a run with only the tags that are left after it.
func withTagsOf(before, after map[string]string) map[string]string {
	all := maps.Clone(before)
	maps.DeleteFunc(all, func(file, _ string) bool {
		_, left := after[file]
		return strings.Contains(file, "/_manifests/tags/") && !left
	})
	return all
}

// checkReached checks that each tag that is left names a manifest that was there before,
// and that all it needs is there: referrers are another matter.
func checkReached(t *testing.T, seed uint64, rule string, before, after map[string]string) {
	t.Helper()
	stored, left := revisions(before), revisions(after)
	for file, content := range after {
		rest := strings.TrimPrefix(file, layout.Repositories+"/")
		repo, inside, _ := strings.Cut(rest, "/_manifests/tags/")
		if !strings.HasSuffix(inside, "/current/link") || !slices.Contains(stored, repo+"@"+content) {
			continue
		}
		if !slices.Contains(left, repo+"@"+content) {
			t.Errorf("seed %d: %s keeps the tag %s and not its manifest", seed, rule, inside)
		} else if err := pull(after, repo, digest.Digest(content), map[string]bool{}); err != nil {
			t.Errorf("seed %d: with %s, %s cannot be pulled: %v", seed, rule, inside, err)
		}
	}
}

// Retention says what a run would do, and changes nothing.
func TestRetentionIsExplained(t *testing.T) {
	tree := newTree(t, inmemory.New())
	image := tree.image("r", "image")
	tree.tag("r", "v1", image)
	tree.tag("r", "pr", tree.image("r", "other"))
	tree.tag("r", attachTag(image, ".sig"), tree.image("r", "legacy"))
	tree.dated("r", "new", "sbom", image, 3)
	old := tree.dated("r", "old", "sbom", image, 2)
	tree.tag("s", "pr", tree.image("s", "image"))
	tree.tag("t", "pr", tree.image("t", "image"))
	before := files(t, tree.driver)
	options := Options{Reach: types.Reach, Describe: types.Dated, Retain: rulesOf(t, `rules: [{repositories: [r, s], keep: {matching: ["v*"]}, referrers: {newest: 1}}]`)}
	list, err := Retention(context.Background(), tree.driver, options)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprint(r.Name, " ", r.Rule, " ", r.Emptied))
		for _, tag := range r.Tags {
			got = append(got, fmt.Sprint(tag.Name, " ", tag.Stays, " ", tag.Reason))
		}
		for _, referrer := range r.Referrers {
			got = append(got, fmt.Sprint(referrer.Digest == old.Digest, " ", referrer.Stays, " ", referrer.Reason))
		}
	}
	want := []string{
		"r extensions.retention.rules[0] false", "pr false nothing in extensions.retention.rules[0].keep keeps it",
		attachTag(image, ".sig") + " true belongs to " + image.Digest.String() + ", which stays", "v1 true matches v*",
		"true false is not among the newest 1 of its subject and type",
		"s extensions.retention.rules[0] true", "pr false nothing in extensions.retention.rules[0].keep keeps it",
		"t  false", "pr true all tags stay",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
	if after := files(t, tree.driver); !maps.Equal(after, before) {
		t.Errorf("it changes %v", difference(before, after))
	}
	some, err := Retention(context.Background(), tree.driver, options, "s", "r", "s")
	if err != nil || len(some) != 2 || some[0].Name != "r" {
		t.Errorf("of two: %+v, %v", some, err)
	}
	if _, err := Retention(context.Background(), tree.driver, options, "nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere: there is no such repository") {
		t.Errorf("of nowhere: %v", err)
	}
	if _, err := json.Marshal(list); err != nil {
		t.Error(err)
	}
}
