//go:build !e2e

package online_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// A stock registry that pushes between the two looks of a collection ends it, before
// anything is removed. The next one, beside which it pushes nothing, keeps what it has
// pushed.
func TestStockRegistryBetweenTheLooks(t *testing.T) {
	root := t.TempDir()
	seed := harness.NewSeed(t, root, "app")
	garbage := seed.Blob([]byte("garbage"))
	untagged := seed.Manifest(harness.OCIImage(garbage, garbage))
	// With this pace, nobody is taken for dead who is stopped for less than 39 s.
	ours := harness.Start(t, harness.Options{Root: root, Config: "extensions: {collection: {pace: 1s}}"})
	stock := harness.Start(t, harness.Options{Root: root, Binary: harness.StockBinary(t)})
	await(t, root, layout.Replica("*"))

	// The collector waits for the registry that is stopped: that is between the looks.
	signal(t, ours, syscall.SIGSTOP)
	collect, output := startCollection(t, "--delete-untagged", ours.Config)
	await(t, root, layout.RunCandidates("*"))
	image := stock.Client().PushImage("app", "stock", "pushed between the looks")
	before := content(t, root)
	signal(t, ours, syscall.SIGCONT)

	err := collect.Wait()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the collection ends with %v: %s", err, output)
	}
	const message = "was written by a registry that takes no part in collections (a stock or older one, or one that has crashed since)"
	if got := output.String(); !strings.Contains(got, "garbage-collect: nothing was removed: sha256:") || !strings.Contains(got, " in app "+message) {
		t.Errorf("the collection says: %s", got)
	}
	if after := content(t, root); !maps.Equal(after, before) {
		t.Errorf("the collection has left %v of %v", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
	}

	if got := harness.Run(t, "garbage-collect", "--online", "--delete-untagged", ours.Config); got.Exit != 0 {
		t.Errorf("the next collection: %+v", got)
	}
	for _, c := range []*harness.Client{ours.Client(), stock.Client()} {
		c.GetManifest("app", "stock").Expect(200)
		c.GetManifest("app", image.Digest.String()).Expect(200)
		c.GetManifest("app", untagged.Digest.String()).Expect(404)
		c.Get(harness.BlobPath("app", garbage.Digest)).Expect(404)
	}
}

// startCollection starts the command that collects beside registries.
func startCollection(t *testing.T, args ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	t.Helper()
	cmd, output = exec.Command(harness.Binary(t), append([]string{"garbage-collect", "--online"}, args...)...), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, output
}

func signal(t *testing.T, r *harness.Registry, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(r.PID(), s); err != nil {
		t.Fatal(err)
	}
}

// await waits until there is a file.
func await(t *testing.T, root, pattern string) {
	t.Helper()
	awaitMany(t, 1, root, pattern)
}

// awaitMany waits until there are so many files.
func awaitMany(t *testing.T, count int, root, pattern string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) >= count {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("there are %d of %d %s", len(found), count, pattern)
		case <-time.After(time.Millisecond):
		}
	}
}

// content are the files of all repositories and blobs, without derived ones, with their
// sizes.
func content(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, layout.Collection) || strings.Contains(path, "/_refs/derived/") {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			found[path] = fmt.Sprint(info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
