// Package documents_test compares the documents with the registry: it runs their
// commands, follows their links and reads their tables.
package documents_test

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// routes are the routes of the extensions.
func routes() []extensions.Route {
	return slices.Concat(oci.New().Routes(extensions.Services{}), oras.New().Routes(extensions.Services{}))
}

// Every link to something in the project leads somewhere.
func TestLinks(t *testing.T) {
	t.Parallel()
	pages := map[string]documents.Page{}
	for _, page := range documents.All(t) {
		pages[page.Path] = page
	}
	links := 0
	for _, page := range pages {
		for _, link := range page.Links() {
			links++
			target := page.Path
			if link.Path != "" {
				target = path.Join(path.Dir(page.Path), link.Path)
			}
			if _, err := os.Stat(filepath.Join(harness.Root(), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s, which does not exist", page.Path, link.Path)
			}
			if link.Anchor != "" && !slices.Contains(pages[target].Anchors(), link.Anchor) {
				t.Errorf("%s links to %s#%s, where no heading has that name", page.Path, link.Path, link.Anchor)
			}
		}
	}
	if links < 50 {
		t.Errorf("there are only %d links", links)
	}
}
