// Package harness runs the registry as users do, as a process of its own, and
// talks to it over HTTP. It is for tests only.
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// Race reports whether the tests were built with the race detector. If so, the binaries
// that they build and start have it as well.
func Race() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Binary builds cmd/registry and returns the path of the executable. It is
// built once for each test process; processes that build at the same time wait
// for one another.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// StockBinary is Binary for distribution's own registry, in the version that this project
// is built on.
func StockBinary(t testing.TB) string {
	t.Helper()
	path, err := stockBuilt()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	built      = sync.OnceValues(func() (string, error) { return build("./cmd/registry", "registry") })
	stockBuilt = sync.OnceValues(func() (string, error) {
		return build("github.com/distribution/distribution/v3/cmd/registry", "stock")
	})
)

func build(pkg, name string) (string, error) {
	root := Root()
	folder := filepath.Join(root, "bin", "test")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(folder, "lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if Race() {
		name += "-race"
	}
	path := filepath.Join(folder, name)
	command := exec.Command("go", "build", fmt.Sprintf("-race=%t", Race()), "-o", path, pkg)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, output)
	}
	return path, nil
}

// Root is the folder of the project.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}
