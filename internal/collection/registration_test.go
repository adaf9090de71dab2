package collection_test

import (
	"context"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/layout"
)

// A backup without the registration of a replica is put back while the replica serves. What it
// shows until it has noticed stays, whenever a collection begins.
func TestRegistrationThatVanishes(t *testing.T) {
	for before, remove := range map[string]func(name string) bool{
		layout.Collection + "/": func(string) bool { return true },
		"/acks/":                func(name string) bool { return strings.HasPrefix(name, "replica-") },
		"/seal/":                func(string) bool { return true },
	} {
		t.Run(path.Base(before), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { vanish(t, before, remove) })
		})
	}
}

// vanish removes entries of the folder of registrations and runs just before the collection
// writes or lists a path that contains a text, and uses a candidate right after.
func vanish(t *testing.T, before string, remove func(name string) bool) {
	ctx, driver, d, began := t.Context(), inmemory.New(), digest.FromString("layer"), time.Now()
	for file, content := range map[string]string{layout.BlobData(d): "layer", layout.LayerLink("app", d): d.String()} {
		if err := driver.PutContent(ctx, file, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Hour)
	options := collection.Options{Clock: func() time.Duration { return time.Since(began) }}
	r := collection.NewSmallReplica(driver, options)
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	done := false
	tampering := touched{driver, func(file string) {
		if done || !strings.Contains(file+"/", before) {
			return
		}
		done = true
		entries, err := driver.List(ctx, layout.Active)
		if err != nil {
			t.Error(err)
		}
		for _, entry := range entries {
			if !remove(path.Base(entry)) {
				continue
			}
			if err := driver.Delete(ctx, entry); err != nil {
				t.Error(err)
			}
		}
		promise := r.Pull()
		if err := promise.Use(ctx, "app", d); err != nil {
			t.Error(err)
		}
		if err := promise.End(); err != nil {
			t.Error(err)
		}
	}}
	if _, err := collection.Collect(ctx, tampering, collection.RunOptions{Options: options}); err != nil {
		t.Log(err) // its own files may be gone, too
	}
	for _, file := range []string{layout.BlobData(d), layout.LayerLink("app", d)} {
		if _, err := driver.Stat(ctx, file); err != nil {
			t.Errorf("what was promised is gone: %v", err)
		}
	}
	if !done {
		t.Errorf("the collection does not touch %s", before)
	}
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

// touched is a storage driver that says which file is about to be written, or which folder
// listed.
type touched struct {
	storagedriver.StorageDriver
	touch func(file string)
}

// PutContent implements storagedriver.StorageDriver.
func (d touched) PutContent(ctx context.Context, file string, content []byte) error {
	d.touch(file)
	return d.StorageDriver.PutContent(ctx, file, content)
}

// List implements storagedriver.StorageDriver.
func (d touched) List(ctx context.Context, folder string) ([]string, error) {
	d.touch(folder)
	return d.StorageDriver.List(ctx, folder)
}
