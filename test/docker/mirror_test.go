//go:build e2e

package docker

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// mirrorPage is the page that says how clients use a mirror.
const mirrorPage = "docs/mirror.md"

// An image of an origin is pulled through a mirror in a container, also when the origin is
// gone: by the name of the mirror, and, by an engine whose configuration is the test's, by
// the name that it has on Docker Hub.
func mirror(e *engine) {
	origin := harness.Start(e.t, harness.Options{})
	pushed := origin.Addr + "/library/hello:v1"
	e.build(pushed)
	built := e.run("image", "inspect", "--format", "{{.Id}}", pushed)
	e.run("push", pushed)
	e.forget(pushed)

	config := filepath.Join(e.t.TempDir(), "config.yml")
	text := harness.Configf(`
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: "127.0.0.1:0"}
extensions: {mirror: {default: docker.io, upstreams: {docker.io: {url: %s, ttl: 0s}}}}
`, origin.URL)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		e.t.Fatal(err)
	}
	addr := e.start("--network", "host", "--volume", config+":/etc/distribution/config.yml:ro").addr()
	names := []string{addr + "/docker.io/library/hello:v1"}
	if e.config != "" {
		e.useMirror(addr)
		names = []string{"hello:v1", names[0]}
	}
	pull := func(when string) {
		for _, name := range names {
			e.run("pull", name)
			if got := e.run("image", "inspect", "--format", "{{.Id}}", name); got != built {
				e.t.Errorf("%s, pulled %s as %s, but pushed %s", when, name, got, built)
			}
			e.forget(name)
		}
	}
	pull("with the origin")
	if err := origin.Stop(); err != nil {
		e.t.Error(err)
	}
	pull("without the origin")
}

// useMirror gives the engine the documented configuration, for a mirror elsewhere, until the
// test ends.
func (e *engine) useMirror(addr string) {
	e.t.Helper()
	var documented string
	for _, block := range documents.Read(e.t, mirrorPage).In("Clients") {
		if strings.Contains(block.Text, "registry-mirrors") {
			documented = block.Text
		}
	}
	e.t.Cleanup(func() { e.configure(`{"registry-mirrors": []}`) })
	e.configure(strings.ReplaceAll(documented, "https://mirror.example.com", "http://"+addr))
	for tick := time.NewTicker(20 * time.Millisecond); !strings.Contains(e.run("info", "--format", "{{.RegistryConfig.Mirrors}}"), addr); {
		select {
		case <-tick.C:
		case <-e.t.Context().Done():
			e.t.Fatal("the engine does not read its configuration again")
		}
	}
}
