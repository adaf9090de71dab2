package harness

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// RemoveAll removes a file or folder, also one that registries are writing into.
func RemoveAll(t testing.TB, path string) {
	t.Helper()
	for {
		err := os.RemoveAll(path)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.ENOTEMPTY) {
			t.Fatal(err)
		}
	}
}

// Block puts a file in the place of a folder, so that nothing can be listed or made there.
func Block(t testing.TB, folder string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	for {
		RemoveAll(t, folder)
		err := os.WriteFile(folder, nil, 0o600)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EISDIR) { // a registry has made it again
			t.Fatal(err)
		}
	}
}
