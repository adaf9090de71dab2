package gc

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/retention"
)

// rulesOf reads rules from YAML, for Options.Retain.
func rulesOf(tb testing.TB, text string) func(repository string) *retention.Rule {
	tb.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		tb.Fatal(err)
	}
	section, err := extensions.NewSection("extensions.retention", value)
	if err != nil {
		tb.Fatal(err)
	}
	rules, err := retention.Read(section)
	if err != nil {
		tb.Fatal(err)
	}
	return rules.For
}

// keeping are rules with a part for all repositories.
func keeping(tb testing.TB, part string) func(repository string) *retention.Rule {
	tb.Helper()
	return rulesOf(tb, fmt.Sprintf("rules: [{repositories: ['**'], %s}]", part))
}

// dated is a signature that says when it was created, by its day.
func (t *tree) dated(repo, name, artifactType string, subject v1.Descriptor, day int) v1.Descriptor {
	t.Helper()
	m := imageOf(name, t.blob(repo, "{}"), &subject, t.blob(repo, "signature "+name))
	m.ArtifactType = artifactType
	m.Annotations[v1.AnnotationCreated] = time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC).Format(time.RFC3339)
	d := t.manifest(repo, name, m)
	t.link(repo, subject, d)
	return d
}

// attachTag is the tag by which older clients attach something to a manifest.
func attachTag(d v1.Descriptor, suffix string) string {
	return strings.Replace(d.Digest.String(), ":", "-", 1) + suffix
}

// tags are the tags in a tree, those of the repository "r" without its name.
func (t *tree) tags() string {
	var list []string
	for file, content := range files(t, t.driver) {
		rest := strings.TrimPrefix(file, layout.Repositories+"/")
		repo, inside, ok := strings.Cut(rest, "/_manifests/tags/")
		if name, current := strings.CutSuffix(inside, "/current/link"); ok && current {
			if subject, attached := retention.Subject(name); attached {
				name = t.names[repo+"@"+subject.String()] + "~"
			}
			list = append(list, strings.TrimPrefix(repo+"/"+name, "r/"))
			if len(revisions(map[string]string{layout.RevisionLink(repo, digest.Digest(content)): ""})) == 0 {
				t.Errorf("%s names no digest", name)
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestRetention(t *testing.T) {
	matching := `keep: {matching: ["v*"]}`
	for _, test := range []struct {
		name, rule      string
		build           func(t *tree)
		tags, manifests string // that survive
		untagged        string // manifests, with Untagged too; empty: the same
	}{
		{"a tag goes with its manifest", matching, func(t *tree) {
			t.tag("r", "v1", t.image("r", "one"))
			t.tag("r", "pr", t.image("r", "two"))
		}, "v1", "one", ""},
		{"what never had a tag stays", matching, func(t *tree) {
			t.tag("r", "pr", t.image("r", "two"))
			t.signature("r", "three.sig", t.image("r", "three"))
		}, "", "three three.sig", " "},
		{"a manifest that another tag names stays", matching, func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "v1", image)
			t.tag("r", "pr", image)
			t.signature("r", "sig", image)
		}, "v1", "image sig", ""},
		{"all that only the tag needed goes", matching, func(t *tree) {
			shared, own := t.image("r", "shared"), t.image("r", "own")
			t.tag("r", "v1", t.index("r", "kept", v1.MediaTypeImageIndex, shared))
			index := t.index("r", "gone", v1.MediaTypeImageIndex, shared, own)
			t.tag("r", "pr", index)
			t.artifact("r", "own.sbom.sig", ptr(t.artifact("r", "own.sbom", &own)))
			t.signature("r", "gone.sig", index)
			t.signature("r", "shared.sig", shared)
		}, "v1", "kept shared shared.sig", ""},
		{"an untagged index needs its children", matching, func(t *tree) {
			child := t.image("r", "child")
			t.tag("r", "pr", child)
			t.index("r", "index", v1.MediaTypeImageIndex, child)
		}, "", "child index", " "},
		{"a tagged referrer does not need its subject", matching, func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "pr", image)
			t.tag("r", "v-sbom", t.artifact("r", "sbom", &image))
		}, "v-sbom", "sbom", ""},
		{"a referrer whose tag goes stays with its subject", matching, func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "v1", image)
			t.tag("r", "sbom", t.artifact("r", "sbom", &image))
		}, "v1", "image sbom", ""},
		{"tags that belong to a manifest", matching, func(t *tree) {
			kept, gone, untagged := t.image("r", "kept"), t.image("r", "gone"), t.image("r", "untagged")
			t.tag("r", "v1", kept)
			t.tag("r", "pr", gone)
			t.tag("r", attachTag(kept, ".sig"), t.image("r", "kept.sig"))
			t.tag("r", attachTag(gone, ".sig"), t.image("r", "gone.sig"))
			t.tag("r", attachTag(untagged, ""), t.index("r", "untagged.list", v1.MediaTypeImageIndex, t.image("r", "untagged.sig")))
			t.tag("r", attachTag(nowhere(), ".sig"), t.image("r", "nowhere.sig"))
			t.tag("r", "sha512-"+gone.Digest.Encoded(), t.image("r", "shortened"))
		}, "kept~ untagged~ v1 ~ ~", "kept kept.sig nowhere.sig shortened untagged untagged.list untagged.sig", "kept kept.sig nowhere.sig shortened"},
		{"conversions go with what they were made from", matching, func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "pr", image)
			t.converted("r", "converted", t.artifact("r", "sbom", &image))
		}, "", "", ""},
		{"each repository by itself", `keep: {matching: ["v*"]}`, func(t *tree) {
			t.tag("r", "v1", t.image("r", "image"))
			t.tag("s", "pr", t.image("s", "image"))
		}, "v1", "image", ""},
		{"newest referrers of each type", "referrers: {newest: 1}", func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "v1", image)
			t.dated("r", "new", "sbom", image, 3)
			old := t.dated("r", "old", "sbom", image, 2)
			t.signature("r", "old.sig", old)
			t.dated("r", "sig", "sig", image, 1)
			t.tag("r", "pinned", t.dated("r", "pinned", "sbom", image, 1))
		}, "pinned v1", "image new pinned sig", ""},
		{"one that does not say when is as old as its bytes", "referrers: {newest: 1}", func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "v1", image)
			t.dated("r", "dated", v1.MediaTypeImageConfig, image, 2)
			m := imageOf("undated", t.blob("r", "{}"), &image)
			m.ArtifactType = v1.MediaTypeImageConfig
			t.manifest("r", "undated", m)
		}, "v1", "image undated", ""},
		{"a referrer that an index needs", "referrers: {newest: 1}", func(t *tree) {
			image := t.image("r", "image")
			t.dated("r", "new", "sbom", image, 3)
			old := t.dated("r", "old", "sbom", image, 2)
			t.tag("r", "v1", t.index("r", "index", v1.MediaTypeImageIndex, image, old))
		}, "v1", "image index new old", ""},
		{"referrers of what was never pushed", "referrers: {newest: 1}", func(t *tree) {
			t.dated("r", "a", "sbom", nowhere(), 3)
			t.dated("r", "b", "sbom", nowhere(), 2)
		}, "", "a b", " "},
	} {
		for _, untagged := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, "/", untagged), func(t *testing.T) {
				tree := newTree(t, inmemory.New())
				test.build(tree)
				before := files(t, tree.driver)
				options := Options{Retain: keeping(t, test.rule), Untagged: untagged}
				planned := collect(t, tree.driver, Options{Retain: options.Retain, Untagged: untagged, DryRun: true})
				if after := files(t, tree.driver); !maps.Equal(after, before) {
					t.Errorf("the dry run changes %v", difference(before, after))
				}
				report := collect(t, tree.driver, options)
				want := test.manifests
				if untagged && test.untagged != "" {
					want = strings.TrimSpace(test.untagged)
				}
				if got := tree.survivors(); got != want {
					t.Errorf("%q survive, want %q", got, want)
				}
				tags := test.tags
				if untagged && strings.Contains(tags, "untagged~ ") {
					tags = strings.Replace(tags, "untagged~ ", "", 1)
				}
				if got := tree.tags(); got != tags {
					t.Errorf("the tags %q stay, want %q", got, tags)
				}
				checkReport(t, before, files(t, tree.driver), report)
				if planned.Tags != report.Tags || planned.Manifests != report.Manifests {
					t.Errorf("the dry run says %+v, the run %+v", planned.Counts, report.Counts)
				}
				if again := collect(t, tree.driver, options); removals(again) != 0 || again.Tags.Removed != 0 {
					t.Errorf("the second run removes %+v", again)
				}
			})
		}
	}
}

func ptr[T any](value T) *T { return &value }

// Without rules for a repository, everything in it stays.
func TestRetentionElsewhere(t *testing.T) {
	tree := newTree(t, inmemory.New())
	mixedTree(tree)
	before := files(t, tree.driver)
	collect(t, tree.driver, Options{})
	plain := files(t, tree.driver)
	other := copyTo(t, before, inmemory.New())
	collect(t, other, Options{Retain: rulesOf(t, "rules: [{repositories: [other], keep: {newest: 1}, referrers: {newest: 1}}]")})
	if after := files(t, other); !maps.Equal(after, plain) {
		t.Errorf("the rules of another repository remove %v", difference(plain, after))
	}
}

// setAgo sets a tag so long ago.
func (t *tree) setAgo(repo, tag string, d v1.Descriptor, ago time.Duration) {
	t.Helper()
	t.tag(repo, tag, d)
	then := time.Now().Add(-ago)
	if err := os.Chtimes(filepath.Join(t.driver.(disk).root, layout.TagCurrent(repo, tag)), then, then); err != nil {
		t.Fatal(err)
	}
}

// Tags are compared by the time at which they were last set.
func TestRetentionByTime(t *testing.T) {
	const day = 24 * time.Hour
	for rule, want := range map[string]string{
		"keep: {newest: 1}":                   "today",
		"keep: {newest: 2}":                   "moved today",
		"keep: {younger: 1w}":                 "moved today",
		"keep: {newest: 1, matching: [old*]}": "old today",
		"keep: {younger: 3w}":                 "moved old today",
	} {
		tree := newTree(t, newDisk(t.TempDir()))
		tree.setAgo("r", "today", tree.image("r", "a"), time.Hour)
		tree.setAgo("r", "old", tree.image("r", "b"), 10*day)
		first := tree.image("r", "c")
		tree.setAgo("r", "moved", first, 30*day)
		tree.setAgo("r", "moved", tree.image("r", "d"), 2*day)
		gone := tree.image("r", "gone")
		tree.setAgo("r", "broken", gone, day)
		tree.delete("r", gone)
		options := Options{Retain: keeping(t, rule)}
		collect(t, tree.driver, options)
		if got := strings.Replace(tree.tags(), "broken ", "", 1); got != want {
			t.Errorf("%s: %q stay, want %q", rule, got, want)
		}
		if !slices.Contains(revisions(files(t, tree.driver)), "r@"+first.Digest.String()) {
			t.Errorf("%s: the earlier manifest of a tag that stays is gone without being asked for", rule)
		}
	}
}

// A tag that was set more recently than OlderThan stays, and one that is set during the
// run.
func TestRetentionOfNewTags(t *testing.T) {
	tree := newTree(t, newDisk(t.TempDir()))
	tree.setAgo("r", "new", tree.image("r", "new"), time.Minute)
	tree.setAgo("r", "old", tree.image("r", "old"), 2*time.Hour)
	tree.setAgo("r", "again", tree.image("r", "again"), 2*time.Hour)
	options := Options{Retain: keeping(t, "keep: {matching: [none]}"), OlderThan: time.Hour}
	asked := 0
	driver := hooked{tree.driver, func(operation, path string) error {
		if operation == "stat" && path == layout.TagCurrent("r", "again") {
			if asked++; asked == 2 { // just before it is removed
				tree.tag("r", "again", tree.image("r", "again"))
			}
		}
		return nil
	}}
	collect(t, driver, options)
	if got := tree.tags(); got != "again new" {
		t.Errorf("%q stay", got)
	}
}
