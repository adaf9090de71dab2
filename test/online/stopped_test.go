//go:build !e2e

package online_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// A collection that is stopped while it removes something does not go on: what is pushed
// again once nobody waits for it any more would go.
func TestCollectionStoppedWhileItRemoves(t *testing.T) {
	root := t.TempDir()
	seed := harness.NewSeed(t, root, "app")
	layers := make([]harness.Descriptor, 3000)
	seed.Many(len(layers), func(i int) { layers[i] = seed.Blob(fmt.Appendf(nil, "garbage %d", i)) })
	ours := harness.Start(t, harness.Options{Root: root, Config: "extensions: {collection: {pace: 250ms}}"})
	await(t, root, layout.Replica("*"))

	collect, output := startCollection(t, ours.Config)
	await(t, root, layout.RunFinal("*", 0))
	if err := collect.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(20*time.Second, func() { _ = collect.Process.Signal(syscall.SIGCONT) }).Stop()
	err := collect.Wait() // without going on
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the collection that was stopped ends with %v: %s", err, output)
	}

	c := ours.Client()
	deadline := time.Now().Add(time.Minute)
	for { // until nothing that it has sent can take effect
		if _, err := c.TryPushBlob(t.Context(), "app", []byte("garbage 0")); err == nil {
			break
		} else if !strings.Contains(err.Error(), "503") || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	image := c.PushImage("app", "v1", "garbage 0") // the first that went
	c.GetManifest("app", "v1").Expect(200)
	if got := harness.Run(t, "garbage-collect", "--online", ours.Config); got.Exit != 0 {
		t.Errorf("the next collection: %+v", got)
	}
	c.GetManifest("app", image.Digest.String()).Expect(200)
	c.Get(harness.BlobPath("app", layers[0].Digest)).Expect(200)
	c.Get(harness.BlobPath("app", layers[1].Digest)).Expect(404)
}
