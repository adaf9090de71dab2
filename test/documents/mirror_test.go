package documents_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const mirrorPage = "docs/mirror.md"

// The configuration of the page works, and the command gets what the page shows from an
// origin that stands for Docker Hub.
func TestMirrorCommands(t *testing.T) {
	t.Parallel()
	origin := harness.Start(t, harness.Options{})
	client := origin.Client()
	image := client.PushImage("library/nginx", "1.29", "a layer")
	client.MustPush("library/nginx", "", harness.OCIImage(client.PushBlob("library/nginx", []byte("a signature"))).Typed("signature/example").To(image))
	page := documents.Read(t, mirrorPage)
	text := strings.NewReplacer("https://registry-1.docker.io", origin.URL, "/var/lib/registry", t.TempDir()).Replace(page.In("Mirrors")[0].Text)
	config := filepath.Join(t.TempDir(), "mirror.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	documents.Run(t, documents.NewShell(t, "mirror.yml", config), page.In("Filling it ahead"))
}
