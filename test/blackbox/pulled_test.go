package blackbox_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const (
	pulledRule = `
extensions:
  collection: {pace: 1s}
  retention: {rules: [{repositories: ["mirror/**"], pulled: 30d}]}
`
	longAgo = 60 * 24 * time.Hour
)

// ageTree makes all that is in a storage so old, and what is recorded there about pulls.
func ageTree(t *testing.T, root string) {
	t.Helper()
	then := time.Now().Add(-longAgo)
	var renamed [][2]string
	err := filepath.WalkDir(filepath.Join(root, layout.Root), func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case strings.Contains(file, "/_gc/records/"):
			text, err := then.MarshalText()
			if err != nil {
				return err
			}
			return os.WriteFile(file, text, 0o600)
		case strings.Contains(file, "/_refs/records/"):
			_, random, _ := strings.Cut(filepath.Base(file), "-")
			renamed = append(renamed, [2]string{file, filepath.Join(filepath.Dir(file), fmt.Sprintf("%020d-%s", then.UnixNano(), random))})
		}
		return os.Chtimes(file, then, then)
	})
	for _, names := range renamed {
		if err == nil {
			err = os.Rename(names[0], names[1])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// recordsOf are the files that say when a manifest was pulled.
func recordsOf(t *testing.T, root, repository string, d digest.Digest) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, layout.Records(repository, "retention"), "pulled", d.Algorithm().String(), d.Encoded(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Of what has been there for long, that stays which somebody has pulled within the time: with
// its tags if it was pulled by digest, and by itself if it has none.
func TestRetentionByPulls(t *testing.T) {
	for name, flags := range map[string][]string{"stopped": {"--retention"}, "serving": {"--retention", "--online"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const mirror, other = "mirror/library/app", "other"
			r := harness.Start(t, harness.Options{Config: pulledRule})
			c := r.Client()
			child, byDigest, unused := c.PushImage(mirror, "v1", "one"), c.PushImage(mirror, "v2", "two"), c.PushImage(mirror, "v3", "three")
			untagged, gone := c.PushImage(mirror, "", "four"), c.PushImage(mirror, "", "five")
			signature := c.MustPush(mirror, "", harness.OCIIndex().Typed("example/signature").To(untagged))
			index := c.MustPush(mirror, "index", harness.OCIIndex(child, gone)) // of which a part will not be there
			c.DeleteManifest(mirror, gone.Digest)
			elsewhere := c.PushImage(other, "", "six")
			if err := r.Stop(); err != nil { // it forgets what was used, and what it has recorded
				t.Fatal(err)
			}
			ageTree(t, r.Root)
			r.Restart()

			c = r.Client()
			c.GetManifest(mirror, "index").Expect(http.StatusOK)
			c.GetManifest(mirror, child.Digest.String()).Expect(http.StatusOK) // as clients do
			c.Head(harness.ManifestPath(mirror, byDigest.Digest.String()), harness.AcceptAll).Expect(http.StatusOK)
			c.GetManifest(mirror, untagged.Digest.String()).Expect(http.StatusOK)
			r.Restart() // only the storage knows
			if name == "stopped" {
				if err := r.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			checkPulledRule(t, r.Config, mirror, unused.Digest)
			run := harness.Run(t, append([]string{"garbage-collect", r.Config}, flags...)...)
			if run.Exit != 0 || !hasFields(run.Stdout, "tags", "3", "1") || !hasFields(run.Stdout, "manifests", "6", "1") {
				t.Fatalf("garbage-collect: %+v", run)
			}
			if name == "stopped" {
				r.Restart()
			}
			c = r.Client()
			for reference, status := range map[string]int{
				"v1": http.StatusOK, "index": http.StatusOK, index.Digest.String(): http.StatusOK, "v2": http.StatusOK,
				untagged.Digest.String(): http.StatusOK, signature.Digest.String(): http.StatusOK,
				"v3": http.StatusNotFound, unused.Digest.String(): http.StatusNotFound,
			} {
				if resp := c.Head(harness.ManifestPath(mirror, reference), harness.AcceptAll); resp.Status != status {
					t.Errorf("%s: %d, want %d", reference, resp.Status, status)
				}
			}
			c.Head(harness.ManifestPath(other, elsewhere.Digest.String()), harness.AcceptAll).Expect(http.StatusOK)

			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			ageTree(t, r.Root)
			run = harness.Run(t, "garbage-collect", "--retention", r.Config)
			if run.Exit != 0 || !hasFields(run.Stdout, "manifests", "1", "5") || !strings.Contains(run.Stderr, "warning: no tag of "+mirror+" stays") {
				t.Fatalf("garbage-collect after a long time without pulls: %+v", run)
			}
			for _, d := range []digest.Digest{index.Digest, byDigest.Digest, untagged.Digest} {
				if left := recordsOf(t, r.Root, mirror, d); len(left) > 0 {
					t.Errorf("left over: %v", left)
				}
			}
		})
	}
}

// checkPulledRule expects `retention check` to say that one tag goes, and why.
func checkPulledRule(t *testing.T, config, repository string, goes digest.Digest) {
	t.Helper()
	result := harness.Run(t, "retention", "check", "--format", "json", config, repository)
	var list []struct {
		Tags, Manifests []struct {
			Digest digest.Digest
			Stays  bool
			Reason string
		}
	}
	if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil || len(list) != 1 || len(list[0].Tags) != 4 {
		t.Fatalf("%v: %+v", err, result)
	}
	for _, tag := range list[0].Tags {
		if tag.Stays != (tag.Digest != goes) || tag.Digest == goes && tag.Reason != "was not pulled for 30d" {
			t.Errorf("%+v", tag)
		}
	}
	if len(list[0].Manifests) != 2 || !list[0].Manifests[0].Stays || !list[0].Manifests[1].Stays {
		t.Errorf("manifests: %+v", list[0].Manifests)
	}
	if text := harness.Run(t, "retention", "check", config, repository); !strings.Contains(text.Stdout, "goes   tag v3") || !strings.Contains(text.Stdout, "stays  manifest sha256:") {
		t.Errorf("%+v", text)
	}
}

// A rule that has just been configured removes nothing, and neither does one that no registry
// serves with.
func TestRetentionByPullsBeginsLater(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("mirror/app", "v1", "layer")
	untagged := c.PushImage("mirror/app", "", "another")
	ageTree(t, r.Root)
	collect := func(reason string) {
		t.Helper()
		if check := harness.Run(t, "retention", "check", r.Config); check.Exit != 0 || !strings.Contains(check.Stdout, reason) {
			t.Errorf("%q is missing in %+v", reason, check)
		}
		for _, args := range [][]string{{"--retention", "--delete-untagged"}, {"--retention", "--online", "--delete-untagged"}} {
			if run := harness.Run(t, append([]string{"garbage-collect", r.Config}, args...)...); run.Exit != 0 || !hasFields(run.Stdout, "manifests", "2", "0") {
				t.Errorf("%v: %+v", args, run)
			}
		}
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	r.RestartConfigured(pulledRule)
	collect("pulls have been recorded only since 20")
	harness.RemoveAll(t, filepath.Join(r.Root, layout.Records("", "retention")))
	collect("no registry records pulls")
	for _, d := range []digest.Digest{image.Digest, untagged.Digest} {
		r.Client().GetManifest("mirror/app", d.String()).Expect(http.StatusOK)
	}
}

// A registry that must not write does not record pulls, and serves them.
func TestPullsFromAReadOnlyRegistry(t *testing.T) {
	t.Parallel()
	first := harness.Start(t, harness.Options{Config: pulledRule})
	image := first.Client().PushImage("mirror/app", "v1", "layer")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	r := harness.Start(t, harness.Options{Root: first.Root, Config: pulledRule + "storage: {maintenance: {readonly: {enabled: true}}}\n"})
	r.Client().GetManifest("mirror/app", "v1").Expect(http.StatusOK)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if found := recordsOf(t, r.Root, "mirror/app", image.Digest); len(found) > 0 {
		t.Errorf("it has recorded %v", found)
	}
}
