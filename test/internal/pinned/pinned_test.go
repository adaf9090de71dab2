//go:build e2e

package pinned_test

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/pinned"
)

// TestBuilt builds everything and checks that each executable has the module and version
// in the go.mod that pins it. Without Go's build cache it takes some minutes, so it is run
// before the tests that need the clients.
func TestBuilt(t *testing.T) {
	pinned.DeployTools(t)
	clients := pinned.Clients(t)
	var pins []string
	for _, module := range []string{"clients", "deploy/tools"} {
		content, err := os.ReadFile(filepath.Join(harness.Root(), "test", module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		pins = append(pins, strings.Fields(string(content))...)
	}
	for path, module := range map[string]string{
		filepath.Join(clients, "oras"):   "oras.land/oras",
		filepath.Join(clients, "regctl"): "github.com/regclient/regclient",
		filepath.Join(clients, "crane"):  "github.com/google/go-containerregistry",
		filepath.Join(clients, "cosign"): "github.com/sigstore/cosign/v3",
		pinned.Promtool(t):               "github.com/prometheus/prometheus",
		pinned.Conformance(t):            "github.com/opencontainers/distribution-spec/conformance",
	} {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if info.Main.Path != module || !pinnedAt(pins, module, info.Main.Version) {
			t.Errorf("%s is %s %s, go.mod pins another one", path, info.Main.Path, info.Main.Version)
		}
	}
}

// pinnedAt reports whether the words of a go.mod contain a module followed by a version.
func pinnedAt(words []string, module, version string) bool {
	for i, word := range words {
		if word == module && i+1 < len(words) && words[i+1] == version {
			return true
		}
	}
	return false
}
