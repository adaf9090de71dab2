package collection_test

import (
	"crypto/rand"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/layout"
)

// What a pull without contact to the storage has seen may be removed in the next moment: a
// descriptor cache must not vouch for it once there is contact.
func TestSeenWithoutALease(t *testing.T) {
	ctx, driver, d := t.Context(), inmemory.New(), digest.FromString("layer")
	r := collection.NewSmallReplica(driver, collection.Options{})
	pull := r.Pull()
	if err := pull.Use(ctx, "app", d); err != nil {
		t.Fatal(err)
	}
	// A run has the layer among its candidates.
	candidates := collection.EncodeCandidates(collection.LinkKey("app", d), collection.BlobKey(d))
	if err := driver.PutContent(ctx, layout.RunCandidates(rand.Text()), candidates); err != nil {
		t.Fatal(err)
	}
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	pull.Seen("app", d)
	push := r.Section()
	if !push.Suspect("app", d) {
		t.Error("the storage is not asked")
	}
	if err := push.Use(ctx, "app", d); err != nil {
		t.Fatal(err)
	}
	push.Seen("app", d)
	if push.Suspect("app", d) {
		t.Error("the storage is asked again for what is protected")
	}
}

// What was pulled while the replica was without a lease is spared by a run that begins after
// it has registered.
func TestUseWithoutALease(t *testing.T) {
	ctx, driver, d, run := t.Context(), inmemory.New(), digest.FromString("layer"), rand.Text()
	r := collection.NewSmallReplica(driver, collection.Options{})
	if err := r.Pull().Use(ctx, "app", d); err != nil {
		t.Fatal(err)
	}
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	keys := []collection.Key{collection.LinkKey("app", d), collection.BlobKey(d)}
	if err := driver.PutContent(ctx, layout.RunCandidates(run), collection.EncodeCandidates(keys...)); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(ctx); err != nil { // waits until it has acknowledged the run
		t.Fatal(err)
	}
	marks, err := driver.List(ctx, layout.RunMarks(run, 0))
	if err != nil || len(marks) != len(keys) {
		t.Errorf("marks of what was pulled: %v, %v", marks, err)
	}
}

// After everything was a suspect, so is what a later run may remove, though it has been seen
// in between.
func TestSuspectsOfALaterRun(t *testing.T) {
	ctx, driver, d := t.Context(), inmemory.New(), digest.FromString("layer")
	r := collection.NewSmallReplica(driver, collection.Options{})
	if err := r.Pull().Use(ctx, "app", d); err != nil {
		t.Fatal(err)
	}
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	push := r.Section()
	if !push.Suspect("app", d) {
		t.Error("what was pulled before there was contact to the storage is not asked for")
	}
	if err := push.Use(ctx, "app", d); err != nil {
		t.Fatal(err)
	}
	push.Seen("app", d)
	if push.Suspect("app", d) {
		t.Error("the storage is asked again for what is protected")
	}
	candidates := collection.EncodeCandidates(collection.LinkKey("app", d), collection.BlobKey(d))
	if err := driver.PutContent(ctx, layout.RunCandidates(rand.Text()), candidates); err != nil {
		t.Fatal(err)
	}
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	if !r.Section().Suspect("app", d) {
		t.Error("the storage is not asked for what another run may remove")
	}
}
