package layout_test

import (
	"errors"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/internal/layout"
)

// What would write to a read-only driver says so, and does not.
func TestReadOnly(t *testing.T) {
	inner := inmemory.New()
	if err := inner.PutContent(t.Context(), "/a", []byte("content")); err != nil {
		t.Fatal(err)
	}
	d := layout.ReadOnly{StorageDriver: inner}
	_, writeErr := d.Writer(t.Context(), "/a", true)
	for what, err := range map[string]error{
		"put":    d.PutContent(t.Context(), "/a", nil),
		"write":  writeErr,
		"move":   d.Move(t.Context(), "/a", "/b"),
		"delete": d.Delete(t.Context(), "/a"),
	} {
		if !errors.Is(err, layout.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if content, err := d.GetContent(t.Context(), "/a"); err != nil || string(content) != "content" {
		t.Errorf("read back is %q, %v", content, err)
	}
}
