package gc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// The policies of the table below, by what they are called there.
var policies = map[string]Options{
	"default":  {},
	"dangling": {Dangling: true},
	"untagged": {Untagged: true},
	"both":     {Untagged: true, Dangling: true},
}

// nowhere is a subject that was never pushed.
func nowhere() v1.Descriptor {
	return v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("never pushed"), Size: 12}
}

var cases = []struct {
	name  string
	build func(t *tree)
	// The names of the manifests that survive, in order; untagged is for both
	// policies that remove untagged manifests.
	byDefault, dangling, untagged string
}{
	{"image with signature", func(t *tree) {
		image := t.image("r", "image")
		t.tag("r", "v1", image)
		t.signature("r", "signature", image)
	}, "image signature", "image signature", "image signature"},

	{"untagged image with signature", func(t *tree) {
		t.signature("r", "signature", t.image("r", "image"))
		t.tag("r", "v1", t.image("r", "other"))
	}, "image other signature", "image other signature", "other"},

	{"signature that is not linked yet", func(t *tree) {
		image := t.image("r", "image")
		t.tag("r", "v1", image)
		t.unlinked("r", "signature", image)
	}, "image signature", "image signature", "image signature"},

	{"referrer that only a link attaches", func(t *tree) {
		image, gone := t.image("r", "image"), t.image("r", "gone")
		t.tag("r", "v1", image)
		t.link("r", image, t.image("r", "attached"))
		t.link("r", gone, t.image("r", "hanging"))
		t.delete("r", gone)
	}, "attached hanging image", "attached image", "attached image"},

	{"referrers-tag index", func(t *tree) {
		image := t.image("r", "image")
		t.tag("r", "v1", image)
		t.tag("r", strings.Replace(image.Digest.String(), ":", "-", 1),
			t.index("r", "tag index", v1.MediaTypeImageIndex, t.image("r", "signature")))
	}, "image signature tag index", "image signature tag index", "image signature tag index"},

	{
		"index with per-platform signatures", func(t *tree) {
			arm, amd := t.image("r", "arm"), t.image("r", "amd")
			index := t.index("r", "index", v1.MediaTypeImageIndex, arm, amd)
			t.tag("r", "v1", index)
			t.signature("r", "arm.sig", arm)
			t.signature("r", "amd.sig", amd)
			t.signature("r", "index.sig", index)
			t.signature("r", "lone.sig", t.image("r", "lone"))
		}, "amd amd.sig arm arm.sig index index.sig lone lone.sig",
		"amd amd.sig arm arm.sig index index.sig lone lone.sig", "amd amd.sig arm arm.sig index index.sig",
	},

	{"Docker list", func(t *tree) {
		list := t.index("r", "list", manifest.MediaTypeDockerList, t.image("r", "arm"), t.image("r", "amd"))
		t.tag("r", "v1", list)
		t.artifact("r", "sbom", &list)
		t.image("r", "lone")
	}, "amd arm list lone sbom", "amd arm list lone sbom", "amd arm list sbom"},

	{"SBOM with signature", func(t *tree) {
		image := t.image("r", "image")
		t.tag("r", "v1", image)
		sbom := t.artifact("r", "sbom", &image)
		t.artifact("r", "sbom.sig", &sbom)
	}, "image sbom sbom.sig", "image sbom sbom.sig", "image sbom sbom.sig"},

	{"SBOM with signature of a deleted image", func(t *tree) {
		image := t.image("r", "image")
		sbom := t.artifact("r", "sbom", &image)
		t.artifact("r", "sbom.sig", &sbom)
		t.delete("r", image)
	}, "sbom sbom.sig", "", ""},

	{"tagged referrer", func(t *tree) {
		image := t.image("r", "image")
		sbom := t.artifact("r", "sbom", &image)
		t.tag("r", "sbom", sbom)
		t.artifact("r", "sbom.sig", &sbom)
	}, "image sbom sbom.sig", "image sbom sbom.sig", "sbom sbom.sig"},

	{"tagged referrer of what was never pushed", func(t *tree) {
		subject := nowhere()
		sbom := t.artifact("r", "sbom", &subject)
		t.tag("r", "sbom", sbom)
		t.artifact("r", "sbom.sig", &sbom)
	}, "sbom sbom.sig", "sbom sbom.sig", "sbom sbom.sig"},

	{"dangling referrer", func(t *tree) {
		subject := nowhere()
		t.signature("r", "dangling", subject)
		t.unlinked("r", "dangling too", subject)
		t.tag("r", "v1", t.image("r", "image"))
	}, "dangling dangling too image", "image", "image"},

	{"dangling referrer that an index needs", func(t *tree) {
		subject := nowhere()
		needed := t.signature("r", "needed", subject)
		t.signature("r", "needed.sig", needed)
		t.tag("r", "v1", t.index("r", "index", v1.MediaTypeImageIndex, needed))
	}, "index needed needed.sig", "index needed needed.sig", "index needed needed.sig"},

	{"signature of a deleted child of a tagged index", func(t *tree) {
		child := t.image("r", "child")
		t.tag("r", "v1", t.index("r", "index", v1.MediaTypeImageIndex, child, t.image("r", "other")))
		t.signature("r", "signature", child)
		t.delete("r", child)
	}, "index other signature", "index other", "index other"},

	{"artifact without subject", func(t *tree) {
		t.tag("r", "a", t.artifact("r", "tagged", nil))
		t.artifact("r", "untagged", nil)
	}, "tagged untagged", "tagged untagged", "tagged"},

	{"conversions of artifacts without subject", func(t *tree) {
		t.tag("r", "a", t.artifact("r", "tagged", nil))
		t.signature("r", "signature", t.converted("r", "conversion", t.artifact("r", "tagged", nil)))
		t.converted("r", "lone", nowhere())
	}, "conversion lone signature tagged", "conversion lone signature tagged", "conversion signature tagged"},

	{"blobs shared across repositories", func(t *tree) {
		t.tag("r", "v1", t.image("r", "one", "shared layer"))
		t.image("s", "two", "shared layer")
	}, "one s/two", "one s/two", "one"},

	{"same digest in two repositories", func(t *tree) {
		image := t.image("r", "image")
		t.image("s", "image")
		t.tag("r", "v1", image)
		t.signature("r", "signature", image)
		t.signature("s", "signature", image)
	}, "image s/image s/signature signature", "image s/image s/signature signature", "image signature"},

	{"subject in another repository", func(t *tree) {
		t.tag("s", "v1", t.image("s", "image"))
		t.signature("r", "signature", t.image("r", "image"))
		t.delete("r", t.image("r", "image"))
	}, "s/image signature", "s/image", "s/image"},

	{"digests-only repository", func(t *tree) {
		t.image("r", "one")
		t.image("r", "two")
		t.tag("s", "v1", t.image("s", "three"))
	}, "one s/three two", "one s/three two", "s/three"},

	{"chain of depth 50", func(t *tree) {
		subject := t.image("r", "c00")
		t.tag("r", "v1", subject)
		for i := 1; i <= 50; i++ {
			subject = t.artifact("r", fmt.Sprintf("c%02d", i), &subject)
		}
	}, chainNames, chainNames, chainNames},

	{"tag that has moved on", func(t *tree) {
		t.tag("r", "v1", t.image("r", "old"))
		t.tag("r", "v1", t.image("r", "new"))
	}, "new old", "new old", "new"},

	{"repository below another", func(t *tree) {
		t.tag("r", "v1", t.image("r", "one"))
		t.image("r/below", "two")
	}, "one r/below/two", "one r/below/two", "one"},

	{"blobs that no manifest has", func(t *tree) {
		t.blob("r", "not used")
		t.blob("only/blobs", "not used either")
	}, "", "", ""},

	{"layers under another digest", func(t *tree) {
		layer, blob := t.aliased("r", "layer by its SHA-512"), t.aliased("r", "blob by its SHA-512")
		image := t.imageWith("r", "image", layer)
		t.tag("r", "v1", image)
		t.artifact("r", "sbom", &image, blob)
		t.imageWith("r", "untagged", t.aliased("r", "layer that only it has"))
		t.aliased("r", "not used")
		t.aliased("only/blobs", "blob by its SHA-512")
	}, "image sbom untagged", "image sbom untagged", "image sbom"},

	{"layer under two digests", func(t *tree) {
		both := t.aliased("r", "layer of both")
		t.tag("r", "v1", t.imageWith("r", "one", t.blob("r", "layer of both")))
		t.imageWith("r", "two", both)
	}, "one two", "one two", "one"},

	{"layer under another digest, shared across repositories", func(t *tree) {
		t.tag("r", "v1", t.imageWith("r", "one", t.aliased("r", "shared layer")))
		t.tag("s", "v1", t.image("s", "two"))
		t.imageWith("s", "three", t.blob("s", "shared layer"))
	}, "one s/three s/two", "one s/three s/two", "one s/two"},

	{"manifest under another digest", func(t *tree) {
		image := t.image("r", "image")
		t.signature("r", "image.sig", image)
		t.signature("r", "alias.sig", t.renamed("r", "alias", image))
		t.tag("r", "v1", image)
	}, "alias alias.sig image image.sig", "alias alias.sig image image.sig", "image image.sig"},

	{
		"tag to another digest", func(t *tree) {
			image := t.image("r", "image", "layer")
			alias := t.renamed("r", "alias", image)
			t.signature("r", "image.sig", image)
			t.signature("r", "alias.sig", alias)
			t.tag("r", "v1", alias)
			t.renamed("r", "other alias", t.image("r", "other"))
		}, "alias alias.sig image image.sig other other alias", "alias alias.sig image image.sig other other alias",
		"alias alias.sig image image.sig",
	},

	{"child of an index under another digest", func(t *tree) {
		child := t.image("r", "child")
		t.tag("r", "v1", t.index("r", "index", v1.MediaTypeImageIndex, t.renamed("r", "alias", child)))
		t.delete("r", child)
	}, "alias index", "alias index", "alias index"},

	{"dangling referrer under another digest", func(t *tree) {
		subject := nowhere()
		dangling := t.signature("r", "dangling", subject)
		t.link("r", subject, t.renamed("r", "alias", dangling))
	}, "alias dangling", "", ""},

	{"links of an early implementation", func(t *tree) {
		image := t.image("r", "image")
		signature := t.signature("r", "signature", image)
		t.write(layout.Revision("r", image.Digest)+"/ref/sha256/"+signature.Digest.Encoded()+"/link", signature.Digest.String())
	}, "image signature", "image signature", ""},
}

var chainNames = func() string {
	var names []string
	for i := range 51 {
		names = append(names, fmt.Sprintf("c%02d", i))
	}
	return strings.Join(names, " ")
}()

func TestPolicies(t *testing.T) {
	for driverName, driver := range drivers(t) {
		for policy, options := range policies {
			for _, test := range cases {
				t.Run(driverName+"/"+policy+"/"+test.name, func(t *testing.T) {
					tree := newTree(t, driver())
					test.build(tree)
					want := map[string]string{
						"default": test.byDefault, "dangling": test.dangling, "untagged": test.untagged, "both": test.untagged,
					}[policy]
					checkRun(t, tree, options, want)
				})
			}
		}
	}
}

// checkRun checks a dry run, a run, and that a second run finds nothing.
func checkRun(t *testing.T, tree *tree, options Options, want string) {
	t.Helper()
	before := files(t, tree.driver)
	options.DryRun = true
	planned := collect(t, tree.driver, options)
	if after := files(t, tree.driver); len(after) != len(before) {
		t.Fatalf("the dry run has left %d files of %d", len(after), len(before))
	}
	options.DryRun = false
	done := collect(t, tree.driver, options)
	if got := tree.survivors(); got != want {
		t.Errorf("the manifests that survive are\n%s, want\n%s", got, want)
	}
	if fmt.Sprint(planned.Counts, planned.Blobs) != fmt.Sprint(done.Counts, done.Blobs) {
		t.Errorf("the dry run reports %+v %+v, the run %+v %+v", planned.Counts, planned.Blobs, done.Counts, done.Blobs)
	}
	checkReport(t, before, files(t, tree.driver), done)
	again := collect(t, tree.driver, options)
	if removed := removals(again); removed != 0 {
		t.Errorf("the second run removes %d things: %+v", removed, again)
	}
}

func removals(r Report) int64 {
	return r.Manifests.Removed + r.LayerLinks.Removed + r.ReferrerLinks.Removed + r.Blobs.Removed + r.Bytes.Removed
}

// checkReport compares a report with the files.
func checkReport(t *testing.T, before, after map[string]string, report Report) {
	t.Helper()
	check := func(what, part string, got Count) {
		t.Helper()
		had, has := countOf(before, part), countOf(after, part)
		if got.Kept != has || got.Removed != had-has {
			t.Errorf("%s: the report says %+v, but %d of %d exist", what, got, has, had)
		}
	}
	check("layer links", "/_layers/", report.LayerLinks)
	check("links of the index", "/_refs/subjects/", report.ReferrerLinks)
	check("blobs", layout.Blobs, report.Blobs)
	had, has := bytesOf(before), bytesOf(after)
	if report.Bytes.Kept != has || report.Bytes.Removed != had-has {
		t.Errorf("bytes: the report says %+v, but %d of %d are there", report.Bytes, has, had)
	}
	kept, removed := int64(len(revisions(after))), int64(len(revisions(before))-len(revisions(after)))
	if report.Manifests != (Count{kept, removed}) {
		t.Errorf("manifests: the report says %+v, but %d stay and %d are gone", report.Manifests, kept, removed)
	}
}

// countOf counts the files whose path contains a text.
func countOf(all map[string]string, part string) (n int64) {
	for file := range all {
		if strings.Contains(file, part) {
			n++
		}
	}
	return n
}

// bytesOf is the size of all blobs.
func bytesOf(all map[string]string) (n int64) {
	for file, content := range all {
		if strings.HasPrefix(file, layout.Blobs) {
			n += int64(len(content))
		}
	}
	return n
}

// The bytes of content that a repository has under two digests are counted once.
func TestBytesOfAliases(t *testing.T) {
	tree := newTree(t, inmemory.New())
	image := tree.imageWith("r", "image", tree.aliased("r", "stays"))
	tree.tag("r", "v1", image)
	tree.renamed("r", "alias", image)
	tree.aliased("r", "goes")
	before := bytesOf(files(t, tree.driver))
	report := collect(t, tree.driver, Options{})
	kept := bytesOf(files(t, tree.driver))
	if got, want := report.Repositories[0].Bytes, (Count{kept, before - kept}); got != want {
		t.Errorf("the report says %+v, want %+v", got, want)
	}
}

// The derived file of a subject is removed with its last link. What is known about the
// manifests of a repository is kept.
func TestDerivedFiles(t *testing.T) {
	tree := newTree(t, inmemory.New())
	loses, keeps, alone := tree.image("r", "loses one"), tree.image("r", "keeps all"), tree.image("r", "loses all")
	tree.tag("r", "v1", loses)
	tree.tag("r", "v2", keeps)
	tree.signature("r", "stays", loses)
	tree.delete("r", tree.signature("r", "gone", loses))
	tree.signature("r", "stays, too", keeps)
	tree.delete("r", tree.signature("r", "gone, too", alone))
	tree.signature("s", "in another repository", tree.image("s", "loses one"))
	cutOff := layout.Restoring("r", alone.Digest, "x") // by a repair that was killed
	tree.write(cutOff, alone.Digest.String())

	collect(t, tree.driver, Options{})
	all := files(t, tree.driver)
	for file, want := range map[string]bool{
		layout.DerivedSubject("r", loses.Digest): true,
		layout.DerivedSubject("r", alone.Digest): false,
		cutOff:                                   false,
		layout.DerivedManifests("r"):             true,
		layout.DerivedSubject("r", keeps.Digest): true,
		layout.DerivedSubject("s", loses.Digest): true,
		layout.DerivedManifests("s"):             true,
	} {
		if _, there := all[file]; there != want {
			t.Errorf("%s is there: %v, want %v", file, there, want)
		}
	}
}
