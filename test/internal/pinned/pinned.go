// Package pinned builds the third-party programs that the tests run against the registry:
// clients, and the conformance suite. Their versions and the sums of all
// their sources are in test/clients/go.mod and go.sum. It is for tests only.
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
// crane, cosign, and notation, which is a small program of this project that uses
// notation's library.
func Clients(tb testing.TB) string {
	tb.Helper()
	return folder(tb, clients)
}

// Conformance builds the conformance suite of the distribution-spec and returns
// the path of its executable.
func Conformance(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(folder(tb, conformance), "conformance")
}

var (
	clients = sync.OnceValues(func() (string, error) {
		return build("clients",
			"oras.land/oras/cmd/oras",
			"github.com/regclient/regclient/cmd/regctl",
			"github.com/google/go-containerregistry/cmd/crane",
			"github.com/sigstore/cosign/v3/cmd/cosign",
			"./notation")
	})
	conformance = sync.OnceValues(func() (string, error) {
		return build("conformance", "github.com/opencontainers/distribution-spec/conformance")
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

// build builds packages that test/clients pins into a folder below bin, which it returns.
// Executables that are up to date are not built again; processes that build at the same
// time wait for one another.
func build(name string, packages ...string) (string, error) {
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
	command.Dir = filepath.Join(harness.Root(), "test", "clients")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %v of test/clients: %w\n%s", packages, err, output)
	}
	return folder, nil
}
