package documents_test

import (
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const retentionSection = "What stays, and what cannot be moved"

// stored is a storage with an image and its signature, and an older image with its own,
// which has no tag any more. The registry has been stopped. Its rules of what stays are
// those of the documents.
func stored(t *testing.T) (config string) {
	t.Helper()
	registry := harness.Start(t, harness.Options{Config: documents.Read(t, configPage).In(retentionSection)[0].Text})
	client := registry.Client()
	for _, text := range []string{"the old layer", "the new layer"} {
		image := client.PushImage("app", "v1", text)
		client.MustPush("app", "", harness.OCIImage(client.PushBlob("app", []byte("a signature of "+text))).Typed("signature/example").To(image))
	}
	if err := registry.Stop(); err != nil {
		t.Fatal(err)
	}
	return registry.Config
}

// The commands about collecting garbage work, and print what the page shows.
func TestGarbageCollectionCommands(t *testing.T) {
	t.Parallel()
	documents.Run(t, documents.NewShell(t, "config.yml", stored(t)), documents.Read(t, "docs/garbage-collection.md").Blocks())
}

// The status is what the page shows.
func TestStatusCommands(t *testing.T) {
	t.Parallel()
	documents.Run(t, documents.NewShell(t, "config.yml", stored(t)), documents.Read(t, "docs/status.md").Blocks())
}

// The commands about the index work.
func TestReferrersCommands(t *testing.T) {
	t.Parallel()
	blocks := documents.Read(t, "referrers.md").In("The commands")
	if len(blocks) != 1 {
		t.Fatalf("referrers.md has %d blocks of commands", len(blocks))
	}
	documents.Run(t, documents.NewShell(t, "CONFIG", stored(t), "REPOSITORY", "app"), blocks)
}
