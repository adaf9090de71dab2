package blackbox_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

const retentionRules = `
extensions:
  retention:
    rules:
      - repositories: ["team/*"]
        keep: {newest: 2, matching: ["v1"]}
        referrers: {newest: 1}
      - repositories: ["scratch/**"]
        keep: {matching: ["v*"]}
`

// dated is a signature that says when it was created.
func dated(c *harness.Client, repository string, subject harness.Descriptor, day string) harness.Manifest {
	return harness.OCIImage(emptyConfig(c, repository, harness.MediaTypeOCIConfig)).Typed("example/signature").To(subject).
		Annotated(harness.OCICreated, "2026-01-"+day+"T00:00:00Z")
}

// Rules remove tags, what only they needed, and older signatures. What stays can be
// pulled, with its signatures.
func TestRetention(t *testing.T) {
	r := harness.Start(t, harness.Options{Config: retentionRules})
	c := r.Client()
	images := map[string]harness.Descriptor{}
	signatures := map[string]harness.Descriptor{}
	for _, tag := range []string{"v1", "v2", "pr-1", "v3"} {
		images[tag] = c.PushImage("team/app", tag, "layer of "+tag)
		signatures[tag] = c.MustPush("team/app", "", dated(c, "team/app", images[tag], "10"))
	}
	older := c.MustPush("team/app", "", dated(c, "team/app", images["v3"], "09"))
	legacy := "sha256-" + images["v1"].Digest.Encoded() + ".sig" // as older versions of cosign do
	c.PushImage("team/app", legacy, "legacy signature")
	untagged := c.PushImage("team/app", "", "never had a tag")
	scratch := c.PushImage("scratch/a/b", "pr-1", "scratch")
	c.PushImage("other", "pr-1", "other")

	wants := map[string]bool{"v1": true, "v2": false, "pr-1": true, "v3": true, legacy: true}
	checkRules(t, r.Config, wants, older)
	run := harness.Run(t, "garbage-collect", "--retention", "--dry-run", r.Config)
	if run.Exit != 0 || !strings.Contains(run.Stderr, "warning: no tag of scratch/a/b stays") || !hasFields(run.Stdout, "tags", "5", "2") {
		t.Errorf("the dry run: %+v", run)
	}
	equal(t, "the tags after a dry run", c.Tags("team/app"), slices.Sorted(func(yield func(string) bool) {
		for tag := range wants {
			if !yield(tag) {
				return
			}
		}
	}))
	run = harness.Run(t, "garbage-collect", "--retention", r.Config)
	if run.Exit != 0 || !hasFields(run.Stdout, "tags", "5", "2") || !hasFields(run.Stdout, "manifests", "9", "4") {
		t.Fatalf("garbage-collect: %+v", run)
	}
	for tag, stays := range wants {
		status := http.StatusNotFound
		if stays {
			status = http.StatusOK
		}
		c.GetManifest("team/app", tag).Expect(status)
		if image, ok := images[tag]; ok {
			c.GetManifest("team/app", image.Digest.String()).Expect(status)
			c.GetManifest("team/app", signatures[tag].Digest.String()).Expect(status)
			c.Get(harness.BlobPath("team/app", harness.BlobDescriptor([]byte("layer of "+tag)).Digest)).Expect(status)
		}
	}
	sameDigests(t, "signatures of v3", c.Referrers(harness.OCI, "team/app", images["v3"].Digest), signatures["v3"].Digest)
	sameDigests(t, "signatures of v2", c.Referrers(harness.OCI, "team/app", images["v2"].Digest))
	c.GetManifest("team/app", older.Digest.String()).Expect(http.StatusNotFound)
	c.GetManifest("team/app", untagged.Digest.String()).Expect(http.StatusOK)
	c.GetManifest("scratch/a/b", scratch.Digest.String()).Expect(http.StatusNotFound)
	c.GetManifest("other", "pr-1").Expect(http.StatusOK)
	checkRules(t, r.Config, map[string]bool{"v1": true, "pr-1": true, "v3": true, legacy: true}, harness.Descriptor{})
}

// checkRules expects `retention check` to say which tags and referrers stay.
func checkRules(t *testing.T, config string, wants map[string]bool, goes harness.Descriptor) {
	t.Helper()
	var list []struct {
		Name, Rule string
		Emptied    bool
		Tags       []struct {
			Name, Reason string
			Stays        bool
		}
		Referrers []struct {
			Digest string
			Stays  bool
		}
	}
	result := harness.Run(t, "retention", "check", "--format", "json", config, "team/app")
	if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil || len(list) != 1 || list[0].Rule != "extensions.retention.rules[0]" || list[0].Emptied {
		t.Fatalf("retention check: %v, %+v", err, result)
	}
	got := map[string]bool{}
	for _, tag := range list[0].Tags {
		if got[tag.Name] = tag.Stays; tag.Reason == "" {
			t.Errorf("there is no reason for %s", tag.Name)
		}
	}
	equal(t, "the tags that stay", got, wants)
	if goes.Digest == "" != (len(list[0].Referrers) == 0) || len(list[0].Referrers) > 0 && list[0].Referrers[0].Digest != goes.Digest.String() {
		t.Errorf("referrers: %+v, want %s", list[0].Referrers, goes.Digest)
	}
}

// hasFields reports whether a line has exactly these fields.
func hasFields(text string, fields ...string) bool {
	for line := range strings.Lines(text) {
		if slices.Equal(strings.Fields(line), fields) {
			return true
		}
	}
	return false
}

func TestRetentionIsShown(t *testing.T) {
	r := harness.Start(t, harness.Options{Config: retentionRules})
	c := r.Client()
	c.PushImage("scratch/a", "pr-1", "layer")
	c.PushImage("team/a", "v1", "layer")
	c.PushImage("other", "v1", "layer")
	result := harness.Run(t, "retention", "check", r.Config)
	for _, want := range []string{
		"other: there is no rule for it, everything stays", "scratch/a: extensions.retention.rules[1], 1 of 1 tag go",
		"warning: no tag of scratch/a stays", "team/a: extensions.retention.rules[0], 0 of 1 tag go", "stays  tag v1", "goes  tag pr-1", "matches v1",
	} {
		if !strings.Contains(result.Stdout, want) {
			t.Errorf("%q is missing in %s", want, result.Stdout)
		}
	}
	if result.Exit != 0 || len(c.Tags("scratch/a")) != 1 {
		t.Errorf("%+v", result)
	}
	if result := harness.Run(t, "retention", "check", r.Config, "nowhere"); result.Exit != 1 || !strings.Contains(result.Stderr, "nowhere: there is no such repository") {
		t.Errorf("of a repository that does not exist: %+v", result)
	}
	if result := harness.Run(t, "config", "check", r.Config); result.Exit != 0 || !strings.Contains(result.Stdout, "- scratch/**") {
		t.Errorf("config check does not show the rules: %+v", result)
	}
	plain := harness.Start(t, harness.Options{}).Config
	for _, args := range [][]string{{"retention", "check", plain}, {"garbage-collect", "--retention", plain}} {
		if result := harness.Run(t, args...); result.Exit != 1 || !strings.Contains(result.Stderr, "the configuration has no extensions.retention.rules") {
			t.Errorf("%v: %+v", args, result)
		}
	}
}

// Wrong rules are refused by all commands, by their paths.
func TestRetentionRulesThatAreWrong(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yml")
	text := "version: 0.1\nstorage: inmemory\nextensions: {retention: {rules: [{repositories: [app], keep: {younger: 3y}}, {}]}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve"}, {"config", "check"}, {"garbage-collect"}, {"retention", "check"}} {
		result := harness.Run(t, append(args, config)...)
		for _, want := range []string{"extensions.retention.rules[0].keep.younger: must be a duration", "extensions.retention.rules[1].repositories: must name"} {
			if result.Exit != 1 || !strings.Contains(result.Stderr, want) {
				t.Errorf("%v: %+v", args, result)
			}
		}
	}
}
