package gc

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/pulls"
	"github.com/oras-distribution/registry/internal/records"
	"github.com/oras-distribution/registry/internal/retention"
)

const day = 24 * time.Hour

// pulledAgo records a pull.
func (t *tree) pulledAgo(repo string, d v1.Descriptor, ago time.Duration) {
	t.Helper()
	t.record(repo, strings.TrimPrefix(pulls.Of(repo, d.Digest), layout.Records(repo, retention.Name)+"/"), "", time.Now().Add(-ago))
}

func (t *tree) record(repo, key, content string, at time.Time) {
	t.Helper()
	if err := records.New(t.driver, retention.Name).Add(context.Background(), repo, key, []byte(content), at); err != nil {
		t.Fatal(err)
	}
}

// recording says that the pulls that a rule asks for have been recorded for so long.
func (t *tree) recording(rule *retention.Rule, since time.Duration) {
	t.Helper()
	text, err := time.Now().Add(-since).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	t.record("", "recording/"+rule.ID(), string(text), time.Now())
}

// aged is a storage whose files are older than they are.
type aged struct {
	storagedriver.StorageDriver
	ago    time.Duration
	except map[string]time.Duration
}

func (a aged) Stat(ctx context.Context, file string) (storagedriver.FileInfo, error) {
	info, err := a.StorageDriver.Stat(ctx, file)
	if err != nil {
		return nil, err
	}
	ago, known := a.except[file]
	if !known {
		ago = a.ago
	}
	return storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{
		Path: info.Path(), Size: info.Size(), IsDir: info.IsDir(), ModTime: info.ModTime().Add(-ago),
	}}, nil
}

// recorded are the names of the manifests of which there are records of pulls.
func (t *tree) recorded() string {
	t.Helper()
	found := map[string]bool{}
	for file := range files(t, t.driver) {
		rest := strings.TrimPrefix(file, layout.Repositories+"/")
		if repo, key, ok := strings.Cut(rest, "/_refs/records/"+retention.Name+"/pulled/"); ok {
			parts := strings.Split(key, "/")
			found[t.names[repo+"@"+parts[0]+":"+parts[1]]] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(found)), " ")
}

func TestRetentionByPulls(t *testing.T) {
	const pulled = "pulled: 30d"
	for _, test := range []struct {
		name, rule                string
		build                     func(t *tree)
		tags, manifests, recorded string // that survive
	}{
		{"a tag stays with what was pulled", pulled, func(t *tree) {
			used, unused, never := t.image("r", "used"), t.image("r", "unused"), t.image("r", "never")
			t.tag("r", "a", used)
			t.tag("r", "b", used)
			t.tag("r", "c", unused)
			t.tag("r", "d", never)
			t.pulledAgo("r", used, 29*day)
			t.pulledAgo("r", unused, 34*day)
		}, "a b", "used", "used"},
		{"a record may be a tenth older than the last pull", pulled, func(t *tree) {
			used, unused := t.image("r", "used"), t.image("r", "unused")
			t.tag("r", "a", used)
			t.tag("r", "b", unused)
			t.pulledAgo("r", used, 33*day-time.Hour)
			t.pulledAgo("r", unused, 33*day+time.Hour)
		}, "a", "used", "used"},
		{"an untagged manifest stays with what it needs and its referrers", pulled, func(t *tree) {
			index := t.index("r", "index", v1.MediaTypeImageIndex, t.image("r", "child"))
			t.signature("r", "sig", index)
			t.pulledAgo("r", index, day)
			t.signature("r", "gone.sig", t.image("r", "gone"))
		}, "", "child index sig", "index"},
		{"a child that was pulled does not need its index", pulled, func(t *tree) {
			child := t.image("r", "child")
			t.tag("r", "v1", t.index("r", "index", v1.MediaTypeImageIndex, child, t.image("r", "other")))
			t.pulledAgo("r", child, day)
		}, "", "child", "child"},
		{"a referrer that was pulled does not need its subject", pulled, func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "v1", image)
			t.pulledAgo("r", t.signature("r", "sig", image), day)
		}, "", "sig", "sig"},
		{"what was pulled elsewhere", pulled, func(t *tree) {
			image := t.image("r", "image")
			t.image("s", "image")
			t.pulledAgo("s", image, day)
		}, "", "s/image", "image"},
		{"each keeps", `keep: {matching: ["v*"]}, pulled: 30d`, func(t *tree) {
			used, release := t.image("r", "used"), t.image("r", "release")
			t.tag("r", "v1", release)
			t.tag("r", "pr-1", used)
			t.tag("r", "pr-2", t.image("r", "unused"))
			t.tag("r", "pr-3", release)
			t.pulledAgo("r", used, day)
			t.image("r", "untagged")
		}, "pr-1 v1", "release used", "used"},
		{"a referrer that is not among the newest", `keep: {matching: ["v*"]}, referrers: {newest: 1}, pulled: 30d`, func(t *tree) {
			image := t.image("r", "image")
			t.tag("r", "v1", image)
			t.dated("r", "new", "sbom", image, 4)
			t.pulledAgo("r", t.dated("r", "pulled", "sbom", image, 3), day)
			t.dated("r", "old", "sbom", image, 2)
		}, "v1", "image new pulled", "pulled"},
		{"a tag that belongs to a manifest", pulled, func(t *tree) {
			image, gone := t.image("r", "image"), t.image("r", "gone")
			t.tag("r", "v1", image)
			t.tag("r", attachTag(image, ".sig"), t.image("r", "image.sig"))
			t.tag("r", attachTag(gone, ".sig"), t.image("r", "gone.sig"))
			t.pulledAgo("r", image, day)
		}, "image~ v1", "image image.sig", "image"},
		{"records of what is not there", pulled, func(t *tree) {
			image := t.image("r", "image")
			t.pulledAgo("r", image, day)
			t.pulledAgo("r", nowhere(), day)
			t.pulledAgo("s", nowhere(), day) // a repository with nothing else
		}, "", "image", "image"},
	} {
		for _, flags := range []Options{{}, {Untagged: true}, {Dangling: true}} {
			t.Run(fmt.Sprint(test.name, "/", flags.Untagged, flags.Dangling), func(t *testing.T) {
				tree := newTree(t, newDisk(t.TempDir()))
				test.build(tree)
				old := aged{tree.driver, 60 * day, nil}
				flags.Retain = keeping(t, test.rule)
				tree.recording(flags.Retain("r"), 60*day)
				before := files(t, tree.driver)
				dry := flags
				dry.DryRun = true
				planned := collect(t, old, dry)
				if after := files(t, tree.driver); !maps.Equal(after, before) {
					t.Errorf("the dry run changes %v", difference(before, after))
				}
				report := collect(t, old, flags)
				if got := tree.survivors(); got != test.manifests {
					t.Errorf("%q survive, want %q", got, test.manifests)
				}
				if got := tree.tags(); got != test.tags {
					t.Errorf("the tags %q stay, want %q", got, test.tags)
				}
				if got := tree.recorded(); got != test.recorded {
					t.Errorf("there are records of %q, want %q", got, test.recorded)
				}
				if planned.Tags != report.Tags || planned.Manifests != report.Manifests {
					t.Errorf("the dry run says %+v, the run %+v", planned.Counts, report.Counts)
				}
				if again := collect(t, old, flags); removals(again) != 0 || again.Tags.Removed != 0 {
					t.Errorf("the second run removes %+v", again)
				}
			})
		}
	}
}

// What was pushed or tagged within the time stays, and nothing goes before pulls have been
// recorded for that time.
func TestRetentionByPullsOfNewContent(t *testing.T) {
	for _, test := range []struct {
		name      string
		since     time.Duration // since when pulls are recorded; 0: they are not
		tags      string
		manifests string
	}{
		{"recorded", 34 * day, "new", "moved new pushed"},
		{"not long enough", 32 * day, "new old", "moved new old pushed untagged"},
		{"not at all", 0, "new old", "moved new old pushed untagged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := newTree(t, inmemory.New())
			rule := keeping(t, "pulled: 30d")
			tree.tag("r", "old", tree.image("r", "old"))
			tree.image("r", "untagged")
			moved, pushed := tree.image("r", "moved"), tree.image("r", "pushed")
			tagged := tree.image("r", "new")
			tree.tag("r", "new", tagged)
			driver := aged{tree.driver, 60 * day, map[string]time.Duration{
				layout.RevisionLink("r", pushed.Digest): 32 * day, layout.RevisionLink("r", moved.Digest): 0, layout.TagCurrent("r", "new"): day,
			}}
			if test.since > 0 {
				tree.recording(rule("r"), test.since)
			}
			collect(t, driver, Options{Retain: rule, Untagged: true})
			if got := tree.survivors(); got != test.manifests {
				t.Errorf("%q survive, want %q", got, test.manifests)
			}
			if got := tree.tags(); got != test.tags {
				t.Errorf("the tags %q stay, want %q", got, test.tags)
			}
		})
	}
}

// Copies of what another registry has may lack children and layers. That is no error, and
// what is there of what stays is kept.
func TestRetentionByPullsOfPartialCopies(t *testing.T) {
	tree := newTree(t, inmemory.New())
	there, unused := tree.image("r", "there", "layer"), tree.image("r", "unused", "other")
	absent := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 100}
	index := tree.index("r", "index", v1.MediaTypeImageIndex, there, absent)
	tree.tag("r", "v1", index)
	tree.tag("r", "v2", tree.index("r", "gone", v1.MediaTypeImageIndex, unused, absent))
	for _, layer := range []string{"layer", "other"} {
		tree.remove(layout.Layer("r", digest.FromString(layer)))
		tree.remove(layout.BlobFolder(digest.FromString(layer)))
	}
	tree.pulledAgo("r", index, day)
	options := Options{Retain: keeping(t, "pulled: 30d")}
	tree.recording(options.Retain("r"), 60*day)
	report := collect(t, aged{tree.driver, 60 * day, nil}, options)
	after := files(t, tree.driver)
	if got, want := revisions(after), []string{"r@" + index.Digest.String(), "r@" + there.Digest.String()}; !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("%q survive, want %q", got, want)
	}
	for _, content := range []string{`{"config of":"there"}`, "layer of there"} {
		if after[layout.BlobData(digest.FromString(content))] == "" {
			t.Errorf("%s is gone", content)
		}
	}
	if want := (Count{Kept: 4, Removed: 4}); report.Blobs != want || len(report.Problems) > 0 {
		t.Errorf("blobs %+v, want %+v; problems %v", report.Blobs, want, report.Problems)
	}
}

// With pulls, a rule keeps all that it keeps without them, and all that was pulled with all
// that it needs.
func TestRandomRetentionByPulls(t *testing.T) {
	for seed := range uint64(100 / sparse) {
		tree := newTree(t, inmemory.New())
		random := rand.New(rand.NewPCG(seed, 13))
		randomReferrers(tree, random)
		before := files(t, tree.driver)
		var used []string // repo@digest
		for _, revision := range revisions(before) {
			repo, d, _ := strings.Cut(revision, "@")
			switch random.IntN(4) {
			case 0:
				tree.pulledAgo(repo, v1.Descriptor{Digest: digest.Digest(d)}, time.Duration(random.IntN(30))*day)
				used = append(used, revision)
			case 1:
				tree.pulledAgo(repo, v1.Descriptor{Digest: digest.Digest(d)}, time.Duration(34+random.IntN(30))*day)
			}
		}
		part := fmt.Sprintf(`keep: {newest: %d, matching: ["*%d"]}, referrers: {newest: 1}`, 1+random.IntN(3), random.IntN(10))
		with, without := keeping(t, part+", pulled: 30d"), keeping(t, part)
		tree.recording(with("r"), 90*day)
		all := files(t, tree.driver)
		driver, other := copyTo(t, all, inmemory.New()), copyTo(t, all, inmemory.New())
		options := Options{Retain: with, Untagged: seed%2 == 0}
		collect(t, aged{driver, 90 * day, nil}, options)
		collect(t, aged{other, 90 * day, nil}, Options{Retain: without, Untagged: true})
		after, left := files(t, driver), files(t, other)
		checkReached(t, seed, part, before, after)
		for _, revision := range revisions(left) {
			if !slices.Contains(revisions(after), revision) {
				t.Errorf("seed %d: %s is kept by %s, and removed with pulls", seed, revision, part)
			}
		}
		for _, revision := range used {
			repo, d, _ := strings.Cut(revision, "@")
			if !slices.Contains(revisions(after), revision) {
				t.Errorf("seed %d: %s was pulled, and is removed", seed, revision)
			} else if pull(before, repo, digest.Digest(d), map[string]bool{}) == nil {
				if err := pull(after, repo, digest.Digest(d), map[string]bool{}); err != nil {
					t.Errorf("seed %d: %s was pulled, and cannot be pulled: %v", seed, revision, err)
				}
			}
		}
		if again := collect(t, aged{driver, 90 * day, nil}, options); removals(again)+again.Tags.Removed != 0 {
			t.Errorf("seed %d: the second run removes %+v", seed, again)
		}
	}
}

// Retention says why manifests stay and go that no tag needs.
func TestRetentionByPullsIsExplained(t *testing.T) {
	tree := newTree(t, inmemory.New())
	child := tree.image("r", "child")
	tree.tag("r", "v1", tree.index("r", "index", v1.MediaTypeImageIndex, child))
	used := tree.index("r", "used", v1.MediaTypeImageIndex, tree.image("r", "needed"))
	tree.pulledAgo("r", used, day)
	tree.image("r", "unused")
	tree.tag("r", "pr", tree.image("r", "branch"))
	rule := keeping(t, `keep: {matching: ["v*"]}, pulled: 30d`)
	tree.recording(rule("r"), 60*day)
	explain := func() (got []string) {
		list, err := Retention(context.Background(), aged{tree.driver, 60 * day, nil}, Options{Retain: rule})
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range list[0].Tags {
			got = append(got, fmt.Sprint(tag.Name, " ", tag.Stays, " ", tag.Reason))
		}
		for _, m := range list[0].Manifests {
			reason, _, _ := strings.Cut(m.Reason, " at ")
			reason, _, _ = strings.Cut(reason, "since")
			got = append(got, strings.TrimSpace(fmt.Sprint(tree.names["r@"+m.Digest.String()], " ", m.Stays, " ", reason)))
		}
		slices.Sort(got)
		return got
	}
	want := []string{
		"needed true was not pulled for 30d, but is new, or needed by another manifest",
		"pr false was not pulled for 30d, and nothing in extensions.retention.rules[0].keep keeps it",
		"unused false was not pulled for 30d", "used true was pulled", "v1 true matches v*",
	}
	if got := explain(); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	tree.remove(layout.Records("", retention.Name))
	for _, line := range explain() {
		if !strings.HasSuffix(line, " true no registry records pulls") && line != "v1 true matches v*" {
			t.Errorf("while nobody records pulls: %s", line)
		}
	}
}
