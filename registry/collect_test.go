package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/layout"
)

// collectTree puts a configuration file and a storage tree into the working
// directory: a tagged image and an untagged one, each with a signature.
func collectTree(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	writeFile(t, "config.yml", "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: data\n")
	image := storeManifest(t, "image", "")
	storeManifest(t, "signature of the image", image)
	writeFile(t, "data"+layout.TagCurrent("library/app", "v1"), image.String())
	storeManifest(t, "signature of the old image", storeManifest(t, "old image", ""))
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// storeManifest stores an image manifest with a config and a layer of its own,
// and its subject's link.
func storeManifest(t *testing.T, name string, subject digest.Digest) digest.Digest {
	t.Helper()
	store := func(content string) digest.Digest {
		d := digest.FromString(content)
		writeFile(t, "data"+layout.BlobData(d), content)
		return d
	}
	blob := func(content string) string {
		d := store(content)
		writeFile(t, "data"+layout.LayerLink("library/app", d), d.String())
		return fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":%d}`, d, len(content))
	}
	text := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]`,
		blob("config of "+name), blob("layer of "+name))
	if subject != "" {
		text += fmt.Sprintf(`,"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}`, subject)
	}
	d := store(text + "}")
	writeFile(t, "data"+layout.RevisionLink("library/app", d), d.String())
	if subject != "" {
		writeFile(t, "data"+layout.ReferrerLink("library/app", subject, d), d.String())
	}
	return d
}

// blobsLeft counts the blobs and manifests of the tree.
func blobsLeft(t *testing.T) int {
	t.Helper()
	list, err := filepath.Glob("data" + layout.Blobs + "/sha256/*/*/data")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// garbageCollect runs the command.
func garbageCollect(ctx context.Context, args ...string) (out, errOut string, err error) {
	var stdout, stderr bytes.Buffer
	cmd := newCollectCommand([]extensions.Extension{oras.New(), oci.New()})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

func TestGarbageCollect(t *testing.T) {
	collectTree(t)
	const all, kept = 12, 6
	for _, step := range []struct {
		flags string
		left  int
		shows string
	}{
		{"--dry-run -m", all, "removable"},
		{"", all, "1 repository in"},
		{"-m --older-than 1h", all, "manifests"},
		{"-d -m -q", all, ""},
		{"-m", kept, "removed"},
	} {
		out, errOut, err := garbageCollect(t.Context(), append(strings.Fields(step.flags), "config.yml")...)
		if err != nil {
			t.Fatalf("%q: %v", step.flags, err)
		}
		if got := blobsLeft(t); got != step.left {
			t.Errorf("%q leaves %d blobs, want %d", step.flags, got, step.left)
		}
		if !strings.Contains(out, step.shows) || (step.shows == "") != (out+errOut == "") {
			t.Errorf("%q prints %q and %q, want %q", step.flags, out, errOut, step.shows)
		}
	}
}

func TestGarbageCollectAsJSON(t *testing.T) {
	collectTree(t)
	out, _, err := garbageCollect(t.Context(), "-d", "--format", "json", "config.yml")
	if err != nil || strings.Contains(out, "library/app") {
		t.Errorf("without --per-repository, the report is %s (%v)", out, err)
	}
	// What a dry run would remove is removable, and what a run has removed is removed.
	for _, run := range []struct {
		flags, verb, never string
		dry                bool
	}{{"-d -m", "removable", "removed", true}, {"-m", "removed", "removable", false}} {
		out, _, err := garbageCollect(t.Context(), append(strings.Fields(run.flags), "--format", "json", "--per-repository", "config.yml")...)
		if err != nil {
			t.Fatal(err)
		}
		type count map[string]int64
		var report struct {
			DryRun           bool
			Manifests, Blobs count
			Repositories     []struct {
				Name             string
				Manifests, Bytes count
			}
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatal(err)
		}
		two, six := count{"kept": 2, run.verb: 2}, count{"kept": 6, run.verb: 6}
		if report.DryRun != run.dry || !maps.Equal(report.Manifests, two) || !maps.Equal(report.Blobs, six) || strings.Contains(out, run.never) {
			t.Errorf("%s: the report is %s", run.flags, out)
		}
		if len(report.Repositories) != 1 || report.Repositories[0].Name != "library/app" || !maps.Equal(report.Repositories[0].Manifests, two) || report.Repositories[0].Bytes[run.verb] == 0 {
			t.Errorf("%s: the repositories in the report are %+v", run.flags, report.Repositories)
		}
	}
}

func TestGarbageCollectErrors(t *testing.T) {
	collectTree(t)
	t.Setenv(config.PathVariable, "")
	writeFile(t, "driver.yml", "version: 0.1\nstorage:\n  unheardof: {}\n")
	for args, want := range map[string]string{
		"":                            "CONFIG is missing: name a configuration file",
		"missing.yml":                 "missing.yml",
		"driver.yml":                  "unheardof",
		"--format xml config.yml":     "--format",
		"--concurrency 0 config.yml":  "--concurrency",
		"--older-than -1h config.yml": "--older-than",
	} {
		_, _, err := garbageCollect(t.Context(), strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error is %v, want one line with %q", args, err, want)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := garbageCollect(stopped, "-m", "config.yml"); err == nil || !strings.Contains(err.Error(), "interrupted; nothing was removed") {
		t.Errorf("stopped before it began: the error is %v", err)
	}

	broken := digest.FromString("broken")
	writeFile(t, "data"+layout.RevisionLink("library/app", broken), broken.String())
	if out, _, err := garbageCollect(t.Context(), "-m", "config.yml"); err == nil || !strings.Contains(err.Error(), broken.String()) || out != "" {
		t.Errorf("with a broken manifest, the error is %v and the output %q", err, out)
	}
	_, errOut, err := garbageCollect(t.Context(), "-m", "--skip-corrupt", "config.yml")
	if err != nil || !strings.Contains(errOut, broken.String()) {
		t.Errorf("with --skip-corrupt, the error is %v, and %q is shown", err, errOut)
	}
	if blobsLeft(t) != 12 {
		t.Error("something was removed")
	}
}
