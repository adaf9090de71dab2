package collection

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// What a run has removed may be there again as soon as its folder is being removed: the
// file that says that a batch is done may already be gone then.
func TestUseWhileTheFolderOfARunIsRemoved(t *testing.T) {
	driver, d, run := inmemory.New(), digest.FromString("removed"), rand.Text()
	keys := digestKeys("app", []digest.Digest{d})
	for file, content := range map[string][]byte{
		layout.RunCandidates(run): encodeCandidates(onlineRun, [][]Key{keys}),
		layout.RunSeal(run, 0):    []byte(run),
		layout.RunFinal(run, 0):   appendKeys(nil, keys),
	} {
		if err := driver.PutContent(t.Context(), file, content); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReplica(driver, Options{Pace: Pace(time.Minute)})
	if err := r.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Section().Use(t.Context(), "app", d); !errors.Is(err, ErrGone) {
		t.Fatalf("while it is being removed: %v", err)
	}
	if err := driver.Delete(t.Context(), layout.RunCandidates(run)); err != nil {
		t.Fatal(err)
	}
	if err := r.Section().Use(t.Context(), "app", d); err != nil {
		t.Errorf("after the run: %v", err)
	}
	if err := r.Section().Write(t.Context(), "app", d); err != nil {
		t.Errorf("after the run, written: %v", err)
	}
}

// What is no run does not keep a replica from serving.
func TestFilesAmongRuns(t *testing.T) {
	driver := filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 100})
	for _, name := range []string{".DS_Store", rand.Text() + ".bak"} {
		if err := driver.PutContent(t.Context(), layout.Run(name), nil); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReplica(driver, Options{})
	if err := r.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Section().Use(t.Context(), "app", digest.FromString("used")); err != nil {
		t.Error(err)
	}
}
