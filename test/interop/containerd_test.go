//go:build e2e

package interop_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// absentHost is the name of a registry that no client can reach.
const absentHost = "origin.example"

// documentedMirror is the configuration of a client in docs/mirror.md that contains a text,
// for a mirror elsewhere of absentHost.
func documentedMirror(t *testing.T, contains, mirror string) string {
	t.Helper()
	for _, block := range documents.Read(t, "docs/mirror.md").In("Clients") {
		if strings.Contains(block.Text, contains) {
			return strings.NewReplacer("https://mirror.example.com", "http://"+mirror, "mirror.example.com", mirror,
				"registry-1.docker.io", absentHost, "docker.io", absentHost).Replace(block.Text)
		}
	}
	t.Fatalf("docs/mirror.md has no configuration with %q", contains)
	return ""
}

// containerd pulls an image of absentHost from a registry that hosts.toml names, with all
// that is attached to it. It returns a sorted line for each descriptor, and one for each
// answer.
func (w *workspace) containerd(registry *harness.Registry, image string) (descriptors, answers string) {
	w.t.Helper()
	hosts := w.t.TempDir()
	folder := filepath.Join(hosts, absentHost)
	if err := os.Mkdir(folder, 0o755); err != nil {
		w.t.Fatal(err)
	}
	toml := documentedMirror(w.t, "[host.", registry.Addr)
	if err := os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(toml), 0o600); err != nil {
		w.t.Fatal(err)
	}
	descriptors, answers, err := w.exec(nil, "containerd", hosts, absentHost+"/"+image)
	if err != nil {
		w.t.Fatalf("containerd: %v\n%s%s", err, descriptors, answers)
	}
	lines := strings.Split(strings.TrimSpace(descriptors), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n"), strings.TrimSpace(answers)
}

// platforms pushes an index of images for two platforms, and returns it and them.
func (w *workspace) platforms(repository, tag string) (index harness.Descriptor, images []harness.Descriptor) {
	w.t.Helper()
	for _, architecture := range []string{"amd64", "arm64"} {
		image := w.Client().PushImage(repository, "", "a layer for "+architecture)
		image.Platform = &harness.Platform{OS: "linux", Architecture: architecture}
		images = append(images, image)
	}
	return w.Client().MustPush(repository, tag, harness.OCIIndex(images...)), images
}

// containerd pulls an image with all of its platforms and attachments through a mirror, with
// the documented hosts.toml, and gets what it gets from the origin, also when that is gone.
func TestContainerdThroughAMirror(t *testing.T) {
	t.Parallel()
	for name, binary := range map[string]string{"this registry": harness.Binary(t), "distribution": harness.StockBinary(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t, harness.Options{Binary: binary})
			index, images := w.platforms("app", "v1")
			sbom := w.orasAttach("app@"+images[1].Digest.String(), "application/vnd.example.sbom", "sbom.json")
			signature := w.orasAttach("app@"+sbom.String(), "application/vnd.example.signature", "note.txt")
			scan := w.orasAttach("app:v1", "application/vnd.example.scan", "hello.txt")

			there, _ := w.containerd(w.Registry, "app:v1")
			expectContains(t, "what containerd gets from the origin", there, index.Digest.String(), images[0].Digest.String(), images[1].Digest.String(),
				sbom.String(), signature.String(), scan.String(), harness.MediaTypeOCIConfig, harness.MediaTypeOCILayer, "application/vnd.example.sbom")
			mirror := harness.Start(t, harness.Options{Config: harness.Configf("extensions: {mirror: {upstreams: {%s: {url: %s, ttl: 0s}}}}", absentHost, w.URL)})
			for _, when := range []string{"cold", "warm", "without the origin"} {
				if when == "without the origin" {
					_ = w.Stop()
				}
				here, answers := w.containerd(mirror, "app:v1")
				if here != there {
					t.Errorf("%s, containerd gets\n%s\nand from the origin\n%s", when, here, there)
				}
				expectContains(t, "what the mirror is asked", answers, "/manifests/", "/blobs/", "/referrers/")
				for answer := range strings.Lines(answers) {
					if !strings.HasPrefix(answer, "200 ") || !strings.Contains(answer, " "+mirror.URL+"/v2/app/") ||
						!strings.Contains(answer, "?ns="+absentHost+" OCI-Namespace:"+absentHost) {
						t.Errorf("%s, containerd has the answer %s", when, answer)
					}
				}
			}
		})
	}
}
