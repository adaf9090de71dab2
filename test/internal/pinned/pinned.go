// Package pinned builds the third-party programs that the tests run against the registry,
// clients and the conformance suite, and those that check what is in deploy/. Their versions
// and the sums of all their sources are in the go.mod and go.sum of test/clients and
// test/deploy/tools. It is for tests only.
package pinned

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Clients builds all clients and returns the folder with their executables: oras, regctl,
// crane, cosign, and two small programs of this project that use the libraries of others:
// notation and containerd.
func Clients(tb testing.TB) string {
	tb.Helper()
	return folder(tb, clients)
}

// Crane builds crane alone and returns the path of its executable.
func Crane(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(folder(tb, crane), "crane")
}

// Conformance builds the conformance suite of the distribution-spec and returns
// the path of its executable.
func Conformance(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(folder(tb, conformance), "conformance")
}

// DeployTools builds the programs of test/deploy/tools: chart and compose. It returns the
// folder with their executables.
func DeployTools(tb testing.TB) string {
	tb.Helper()
	return folder(tb, deployTools)
}

// Promtool builds Prometheus' promtool and returns the path of its executable.
func Promtool(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(folder(tb, promtool), "promtool")
}

// The modules that pin programs, as folders below test.
const (
	clientsModule = "clients"
	deployModule  = "deploy/tools"
)

var (
	clients = sync.OnceValues(func() (string, error) {
		return build(clientsModule, "clients",
			"oras.land/oras/cmd/oras",
			"github.com/regclient/regclient/cmd/regctl",
			"github.com/google/go-containerregistry/cmd/crane",
			"github.com/sigstore/cosign/v3/cmd/cosign",
			"./notation",
			"./containerd")
	})
	crane = sync.OnceValues(func() (string, error) {
		return build(clientsModule, "crane", "github.com/google/go-containerregistry/cmd/crane")
	})
	conformance = sync.OnceValues(func() (string, error) {
		return build(clientsModule, "conformance", "github.com/opencontainers/distribution-spec/conformance")
	})
	deployTools = sync.OnceValues(func() (string, error) { return build(deployModule, "deploy", "./chart", "./compose") })
	promtool    = sync.OnceValues(func() (string, error) {
		return build(deployModule, "promtool", "-tags=remove_all_sd", "github.com/prometheus/prometheus/cmd/promtool")
	})
)

func folder(tb testing.TB, built func() (string, error)) string {
	tb.Helper()
	path, err := built()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// build builds packages that a module pins into a folder below bin, which it returns; flags
// of the compiler may come before them. Executables that are up to date are not built again;
// processes that build at the same time wait for one another.
func build(module, name string, packages ...string) (string, error) {
	folder := filepath.Join(harness.Root(), "bin", name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(folder + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	args := append([]string{"build", "-ldflags", "-s -w", "-o", folder + "/"}, packages...)
	command := exec.Command("go", args...)
	command.Dir = filepath.Join(harness.Root(), "test", filepath.FromSlash(module))
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %v of test/%s: %w\n%s", packages, module, err, output)
	}
	return folder, nil
}
