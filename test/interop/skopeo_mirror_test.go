//go:build e2e

package interop_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// skopeoPulls copies an image and an index out of a registry, and returns the digests of the
// files, and what skopeo says about the image.
func (w *workspace) skopeoPulls(name string, global ...string) (files map[string]digest.Digest, digests string) {
	w.t.Helper()
	folder := w.t.TempDir()
	image, all := filepath.Join(folder, "image"), filepath.Join(folder, "all")
	w.skopeo(append(global, "copy", skopeoFrom, name, "dir:"+image)...)
	w.skopeo(append(global, "copy", "--all", skopeoFrom, name, "dir:"+all)...)
	files = map[string]digest.Digest{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(folder, path))
		files[path] = digest.FromBytes(content)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return files, w.skopeo(append(global, "inspect", "--no-tags", "--format", "{{.Digest}} {{.Layers}}", skopeoAt, name)...)
}

// skopeo copies and inspects images through a mirror: by its name, and by that of an origin
// which it cannot reach, with the documented registries.conf.
func TestSkopeoThroughAMirror(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{Binary: harness.Binary(t)}) // one process, which can be stopped
	index, _ := w.platforms("app", "v1")
	files, inspected := w.skopeoPulls("docker://" + w.ref("app:v1"))
	if files["all/manifest.json"] != index.Digest {
		t.Fatalf("skopeo copied the files %v, expected the index %s", files, index.Digest)
	}
	mirror := harness.Start(t, harness.Options{Config: harness.Configf("extensions: {mirror: {upstreams: {%s: {url: %s, ttl: 0s}}}}", absentHost, w.URL)})
	w.write("registries.conf", []byte(documentedMirror(t, "[[registry.mirror]]", mirror.Addr)))
	byPath, configured := "docker://"+mirror.Addr+"/"+absentHost+"/app:v1", "docker://"+absentHost+"/app:v1"
	same := func(when string) {
		t.Helper()
		for name, global := range map[string][]string{byPath: nil, configured: {"--registries-conf", "registries.conf"}} {
			got, answer := w.skopeoPulls(name, global...)
			if !maps.Equal(got, files) || answer != inspected {
				t.Errorf("%s, skopeo gets %s as %v\n%s\nand from the origin\n%v\n%s", name, when, got, answer, files, inspected)
			}
		}
	}
	same("with the origin")
	var listed struct{ Tags []string }
	w.runJSON(&listed, "skopeo", "list-tags", skopeoAt, byPath[:len(byPath)-len(":v1")])
	expectSame(t, "the tags that skopeo finds through the mirror", listed.Tags, "v1")
	_ = w.Stop()
	same("without the origin")
	expectContains(t, "what skopeo says to a list of tags without the origin",
		w.fails("skopeo", "inspect", skopeoAt, byPath), "repository tags", "503")
}
