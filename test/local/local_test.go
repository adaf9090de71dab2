//go:build e2e

package local

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
	"github.com/oras-distribution/registry/test/internal/pinned"
)

// Three replicas as they are deployed, and what happens to them in the course of time.
func TestReplicas(t *testing.T) {
	s := up(t)
	t.Run("clients", func(t *testing.T) { useClients(t, s) })
	w := &work{repo: load.NewRepository("team/app", 4, s.client())}
	s.client().LeaveUpload("team/app")
	// While a proxy passes requests to replicas that are ready, nobody notices a new version.
	t.Run("rolling restart", func(t *testing.T) {
		w.while(t, true, func() { s.do("rolling") })
		w.expectAll(t)
	})
	t.Run("collection meanwhile", func(t *testing.T) {
		w.while(t, true, func() { collect(t, s) })
		w.expectAll(t)
	})
	// Without the descriptor cache that they share, replicas ask the storage. They delete
	// nothing: other replicas would go on serving it.
	t.Run("without Redis", func(t *testing.T) {
		client := s.client().For(t)
		kept := harness.ManifestPath("team/kept", client.PushImage("team/kept", "v1", "a layer").Digest.String())
		defer func() { client.Delete(kept).Expect(http.StatusAccepted) }()
		w.keeping.Store(true)
		w.while(t, false, func() {
			s.do("stop", "redis")
			w.more(t, 100)
			client.Delete(kept).Expect(http.StatusInternalServerError)
			client.Get(kept, harness.AcceptAll).Expect(http.StatusOK)
			s.do("start", "redis")
			w.keeping.Store(false)
		})
		w.expectAll(t)
	})
	t.Run("a replica is killed", func(t *testing.T) {
		w.while(t, false, func() {
			s.do("kill", "registry-2")
			w.more(t, 100)
			s.do("start", "registry-2")
		})
		w.expectAll(t)
	})
	// Without its storage a registry answers nothing that is wrong, and says that it is not
	// ready.
	t.Run("the gateway is away", func(t *testing.T) {
		w.while(t, false, func() {
			s.do("stop", "s3")
			s.await(http.StatusServiceUnavailable)
			s.do("start", "s3")
			s.await(http.StatusOK)
		})
		w.expectAll(t)
	})
	if result := s.registry("referrers", "verify"); result.Exit != 0 {
		t.Errorf("referrers verify: exit code %d: %s%s", result.Exit, result.Stdout, result.Stderr)
	}
}

// collect collects garbage beside the replicas, at least what has been deleted before.
func collect(t *testing.T, s *stack) {
	t.Helper()
	result := s.registry("garbage-collect", "--online", "--delete-untagged", "--format", "json")
	var summary struct {
		Blobs struct{ Kept, Removed int }
	}
	if err := json.Unmarshal([]byte(result.Stdout), &summary); err != nil || result.Exit != 0 {
		t.Fatalf("garbage-collect: exit code %d, %v: %s%s", result.Exit, err, result.Stdout, result.Stderr)
	}
	if summary.Blobs.Kept == 0 {
		t.Errorf("the collection has kept nothing: %s", result.Stdout)
	}
	t.Logf("the collection: %s", result.Stdout)
}

// useClients runs real clients against the proxy: crane, and the commands of the README
// with oras and cosign.
func useClients(t *testing.T, s *stack) {
	folder := t.TempDir()
	env := append(os.Environ(),
		"PATH="+pinned.Clients(t)+":"+os.Getenv("PATH"),
		"HOME="+folder, "XDG_CONFIG_HOME="+folder, "XDG_CACHE_HOME="+folder, "DOCKER_CONFIG="+folder, "COSIGN_PASSWORD=",
		"HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1,localhost")
	shell := documents.Shell{Folder: folder, Env: env, Names: []string{
		"localhost:5000", strings.Replace(s.addr, "127.0.0.1", "localhost", 1),
		// What is attached is listed in the order of its time, which has whole seconds.
		"cosign sign --yes", "now=$SECONDS; until [ $SECONDS != $now ]; do :; done; cosign sign --yes",
	}}
	documents.Run(t, shell, documents.Read(t, "README.md").In("Attach, sign, discover, verify"))
	if err := os.WriteFile(filepath.Join(folder, "large"), make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	documents.Run(t, shell, []documents.Block{{Language: "sh", Text: `
tar -cf layer.tar large
crane append --oci-empty-base -f layer.tar -t localhost:5000/large:v1
crane validate --remote localhost:5000/large:v1
crane pull --format oci localhost:5000/large:v1 layout
crane push layout localhost:5000/pushed:v1
test "$(crane digest localhost:5000/large:v1)" = "$(crane digest localhost:5000/pushed:v1)"
regctl registry set --tls disabled localhost:5000
regctl image copy --referrers localhost:5000/app:v1 localhost:5000/copied:v1
test "$(regctl artifact list localhost:5000/copied:v1 | grep -c application/)" -ge 2
`}})
	client := s.client()
	image := client.GetManifest("large", "v1").Expect(http.StatusOK)
	if image.Header.Get("Docker-Content-Digest") != harness.BlobDescriptor(image.Body).Digest.String() {
		t.Errorf("the digest differs: %s", image)
	}
	if page := client.Get("/ui/").Expect(http.StatusOK); !strings.Contains(string(page.Body), "pushed") {
		t.Errorf("the page does not show what was pushed: %s", page)
	}
}
