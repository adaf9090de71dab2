//go:build !e2e

package online_test

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// What is converted beside a collection is whole, also if that is just removing the empty
// config.
func TestConvertBesideACollection(t *testing.T) {
	root := t.TempDir()
	seed := harness.NewSeed(t, root, "app")
	image := seed.Manifest(harness.OCIImage(seed.Blob([]byte("config")), seed.Blob([]byte("layer"))))
	const artifacts = 20
	for i := range artifacts {
		seed.Referrer(harness.ORASArtifact(fmt.Sprintf("type/%d", i), seed.Blob(fmt.Appendf(nil, "blob %d", i))).To(image))
	}
	empty := seed.Blob([]byte("{}"))
	seed.Many(3000, func(i int) { seed.Blob(fmt.Appendf(nil, "garbage %d", i)) })
	ours := harness.Start(t, harness.Options{Root: root, Config: "extensions: {collection: {pace: 2s}}"})
	await(t, root, layout.Replica("*"))

	collect, output := startCollection(t, ours.Config)
	await(t, root, layout.RunFinal("*", 0))
	if err := collect.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	converting := make(chan harness.Result)
	go func() { converting <- harness.Run(t, "referrers", "convert", ours.Config) }()
	awaitMany(t, 2, root, layout.Replica("*"))
	if err := collect.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := collect.Wait(); err != nil {
		t.Fatalf("the collection: %v: %s", err, output)
	}
	if got := <-converting; got.Exit != 0 {
		t.Fatalf("referrers convert: %+v", got)
	}
	c := ours.Client()
	list := c.Referrers(harness.OCI, "app", image.Digest)
	if len(list) != 2*artifacts {
		t.Errorf("of %d artifacts and their conversions, %d are listed", artifacts, len(list))
	}
	for _, d := range list {
		c.GetManifest("app", d.Digest.String()).Expect(http.StatusOK)
	}
	c.Get(harness.BlobPath("app", empty.Digest)).Expect(http.StatusOK)
}
