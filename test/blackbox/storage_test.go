package blackbox_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// A storage that cannot be written is one line and exit status 1, at start.
func TestStorageThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := "version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: '127.0.0.1:0'}\n"
	for _, root := range []string{file, filepath.Join(file, "below"), "/proc/none"} {
		result := harness.Run(t, "serve", configuration(t, fmt.Sprintf(config, root)))
		want := "registry: the storage filesystem " + root + " cannot be written: "
		if result.Exit != 1 || strings.Count(result.Stderr, "registry: ") != 1 || !strings.Contains(result.Stderr, want) {
			t.Errorf("exit code %d, want one line %q:\n%s", result.Exit, want, result.Stderr)
		}
	}
}

// The check at start leaves no file behind, and writes nothing in read-only mode.
func TestStorageCheckLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, config := range []string{"", "storage: {maintenance: {readonly: {enabled: true}}}"} {
		r := harness.Start(t, harness.Options{Config: config})
		replica := harness.Start(t, harness.Options{Config: config, Root: r.Root})
		replica.Client().Get("/v2/").Expect(http.StatusOK)
		for _, running := range []*harness.Registry{r, replica} {
			if err := running.Stop(); err != nil {
				t.Error(err)
			}
		}
		err := filepath.WalkDir(r.Root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && (!entry.IsDir() || config != "" && path != r.Root) {
				t.Errorf("%s is left", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Commands do not take a folder that does not exist for an empty storage.
func TestCommandsOnAMissingRoot(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "missing")
	config := configuration(t, "version: 0.1\nstorage: {filesystem: {rootdirectory: "+root+"}}\n")
	for _, command := range []string{
		"garbage-collect CONFIG", "garbage-collect --dry-run CONFIG", "referrers verify CONFIG", "referrers verify --repair CONFIG",
		"referrers rebuild CONFIG", "referrers rebuild --dry-run CONFIG", "referrers tree CONFIG app",
	} {
		result := harness.Run(t, strings.Fields(strings.ReplaceAll(command, "CONFIG", config))...)
		if want := "registry: the storage filesystem " + root + " does not exist\n"; result.Exit != 1 || result.Stderr != want {
			t.Errorf("%s: exit code %d, %q, want %q", command, result.Exit, result.Stderr, want)
		}
		if _, err := os.Stat(root); err == nil {
			t.Fatalf("%s has created the folder", command)
		}
	}
}

// What `registry serve` says without a configuration: the versions first, and no warning.
func TestFirstLines(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := harness.Start(t, harness.Options{
		Driver: harness.InMemory, Args: []string{"serve"},
		Env: []string{"REGISTRY_HTTP_ADDR=127.0.0.1:0", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=" + root},
	})
	lines := strings.Split(r.Log(), "\n")
	if len(lines) < 3 || !strings.Contains(lines[0], "msg=\"registry ") || !strings.Contains(lines[1], "msg=\"distribution v3") {
		t.Errorf("the log begins with %q", lines[:min(2, len(lines))])
	}
	if log := r.Log(); strings.Contains(log, "level=warning") || strings.Contains(log, "level=error") {
		t.Errorf("there is a warning:\n%s", log)
	}
	// Distribution walks this folder to purge uploads, and logs an error if it is not there.
	if _, err := os.Stat(filepath.Join(root, "docker/registry/v2/repositories")); err != nil {
		t.Error(err)
	}
}
