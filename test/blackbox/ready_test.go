package blackbox_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// readyPatience is how long a registry may take to notice something.
const readyPatience = 30 * time.Second

// startDebugged starts a registry on a folder and returns a client of its debug server.
func startDebugged(t *testing.T, root, config string) (*harness.Registry, *harness.Client) {
	t.Helper()
	debug := harness.FreeAddr(t)
	r := harness.Start(t, harness.Options{Root: root, Driver: harness.Filesystem, Config: config, Env: []string{"REGISTRY_HTTP_DEBUG_ADDR=" + debug}})
	harness.AwaitHTTP(t, "http://"+debug+"/debug/pprof/cmdline")
	return r, harness.NewClient(t, "http://"+debug)
}

// awaitReady asks whether the registry is ready until it answers with a status, and, for a
// reason, with that.
func awaitReady(t *testing.T, debug *harness.Client, status int, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyPatience)
	defer cancel()
	for {
		response := debug.Get("/debug/ready")
		var answer struct {
			Ready bool
			Why   []string
		}
		response.JSON(&answer)
		if answer.Ready != (response.Status == http.StatusOK) {
			t.Fatalf("the status and the answer differ: %s", response)
		}
		said := strings.Join(answer.Why, "\n")
		if response.Status == status && (said == why || why != "" && strings.Contains(said, why)) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("expected %d because of %q: %s", status, why, response)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// While repositories are being prepared after the start, a registry serves but is not
// ready.
func TestNotReadyBeforeTheIndexIsPrepared(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	seed := harness.NewSeed(t, root, "app")
	seed.Manifest(harness.OCIImage(harness.BlobDescriptor([]byte("{}"))).To(seed.Blob([]byte("a subject"))))
	// A pipe in place of the index's notes cannot be opened for reading until somebody writes.
	notes := filepath.Join(root, layout.DerivedManifests("app"))
	if err := os.MkdirAll(filepath.Dir(notes), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(notes, 0o600); err != nil {
		t.Fatal(err)
	}
	registry, debug := startDebugged(t, root, "")
	awaitReady(t, debug, http.StatusServiceUnavailable, "index: ")
	registry.Client().Get("/v2/").Expect(http.StatusOK)
	awaitReady(t, debug, http.StatusServiceUnavailable, "index: ")
	pipe, err := os.OpenFile(notes, os.O_WRONLY, 0) // waits until it is being opened for reading
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(notes); err != nil {
		t.Fatal(err)
	}
	pipe.Close()
	awaitReady(t, debug, http.StatusOK, "")
}

// A registry that cannot register with collectors is not ready, because it refuses pushes.
// Once it was, it stays ready: it serves pulls.
func TestNotReadyBeforeItIsRegistered(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	folder := filepath.Join(root, layout.Root, "_gc")
	harness.Block(t, folder)
	_, debug := startDebugged(t, root, "extensions: {collection: {pace: 100ms}}")
	awaitReady(t, debug, http.StatusServiceUnavailable, "collection: no contact")
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, debug, http.StatusOK, "")
	harness.Block(t, folder)
	awaitReady(t, debug, http.StatusOK, "collection: no contact")
}

// A registry whose storage fails is not ready, and says so like /debug/health.
func TestNotReadyWithoutStorage(t *testing.T) {
	t.Parallel()
	disk := filepath.Join(t.TempDir(), "disk")
	_, debug := startDebugged(t, filepath.Join(disk, "registry"),
		"health: {storagedriver: {enabled: true, interval: 50ms, threshold: 2}}")
	awaitReady(t, debug, http.StatusOK, "")
	if err := os.Rename(disk, disk+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, debug, http.StatusServiceUnavailable, "health: storagedriver_filesystem: ")
	debug.Get("/debug/health").Expect(http.StatusServiceUnavailable)
	if err := os.Remove(disk); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(disk+".away", disk); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, debug, http.StatusOK, "")
}

// A registry that has been told to stop finishes its requests, and is not ready.
func TestNotReadyWhileItStops(t *testing.T) {
	t.Parallel()
	registry, debug := startDebugged(t, t.TempDir(), "http: {draintimeout: 60s}")
	awaitReady(t, debug, http.StatusOK, "")
	client := registry.Client()
	upload := client.Send(http.MethodPost, "/v2/app/blobs/uploads/", nil).Expect(http.StatusAccepted).Header.Get("Location")
	body, sent := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		response, err := client.Do(t.Context(), harness.Request{Method: http.MethodPatch, Path: upload, Reader: body})
		if err != nil {
			t.Error(err)
			close(answered)
			return
		}
		answered <- response.Status
	}()
	if _, err := sent.Write(make([]byte, 32<<20)); err != nil { // more than buffers hold: the registry reads
		t.Fatal(err)
	}
	if err := syscall.Kill(registry.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, debug, http.StatusServiceUnavailable, "the registry is stopping")
	sent.Close()
	if status := <-answered; status != http.StatusAccepted {
		t.Errorf("the upload was answered with %d", status)
	}
	<-registry.Done()
}
