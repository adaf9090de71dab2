//go:build e2e

package release

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const (
	version  = "v1.2.3-test"
	revision = "0123456789abcdef0123456789abcdef01234567"
	name     = "registry-" + version + "-linux-" + runtime.GOARCH
	image    = "registry-" + version + "-image.tar"
)

// Two copies of the source give the same release, and it is what it says. Where nothing
// builds images, the release has none, and says so.
func TestRelease(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Fatal("the test checks the files of a Linux binary: run it on Linux")
	}
	first, _ := release(t, os.Getenv("PATH"))
	checkSums(t, first, "LICENSE", name, name+".cdx.json", image)
	checkBinary(t, filepath.Join(first, name))
	checkSBOM(t, filepath.Join(first, name+".cdx.json"))
	checkConfig(t, filepath.Join(first, image))
	verifyAsDocumented(t, first)

	second, log := release(t, pathWithout(t, "docker", "podman"))
	checkSums(t, second, "LICENSE", name, name+".cdx.json")
	if !strings.Contains(log, "left out: the container image") {
		t.Errorf("it does not say that it built no image:\n%s", log)
	}
	for _, file := range []string{name, name + ".cdx.json"} {
		if !bytes.Equal(read(t, first, file), read(t, second, file)) {
			t.Errorf("%s is not the same in a second build", file)
		}
	}
}

// release makes a release of this machine's platform in a copy of the source, without git,
// and returns its folder and what make printed.
func release(t *testing.T, path string) (folder, log string) {
	t.Helper()
	source := t.TempDir()
	for _, part := range []string{"cmd", "docker", "extensions", "internal", "registry", "tools"} {
		if err := os.CopyFS(filepath.Join(source, part), os.DirFS(filepath.Join(harness.Root(), part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{"Dockerfile", "LICENSE", "Makefile", "go.mod", "go.sum"} {
		if err := os.WriteFile(filepath.Join(source, part), read(t, harness.Root(), part), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "make", "release", "PLATFORMS=linux/"+runtime.GOARCH, "VERSION="+version, "REVISION="+revision,
		"CREATED=2026-01-02T03:04:05Z", "SOURCE_DATE_EPOCH=1767323045")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "PATH="+path)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make release: %v\n%s", err, output)
	}
	return filepath.Join(source, "dist", "release"), string(output)
}

// pathWithout is a PATH with all commands except some.
func pathWithout(t *testing.T, commands ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		files, _ := filepath.Glob(filepath.Join(from, "*"))
		for _, file := range files {
			_ = os.Symlink(file, filepath.Join(folder, filepath.Base(file))) // the first of a name wins
		}
	}
	for _, command := range commands {
		if err := os.Remove(filepath.Join(folder, command)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return folder
}

// checkSums checks SHA256SUMS as a user does, and that it covers all files and no others.
func checkSums(t *testing.T, folder string, files ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sha256sum", "-c", "SHA256SUMS")
	cmd.Dir = folder
	output, err := cmd.CombinedOutput()
	if want := strings.Join(files, ": OK\n") + ": OK\n"; err != nil || !sameLines(string(output), want) {
		t.Errorf("sha256sum -c SHA256SUMS: %v\n%s\nwant\n%s", err, output, want)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != len(files)+1 {
		t.Errorf("the release consists of %v (%v), want %v and SHA256SUMS", entries, err, files)
	}
}

func sameLines(a, b string) bool {
	for line := range strings.Lines(a) {
		if !strings.Contains(b, line) {
			return false
		}
	}
	return len(a) == len(b)
}

// checkBinary checks that a binary needs nothing of the system that it runs on, and that it
// knows its version.
func checkBinary(t *testing.T, file string) {
	t.Helper()
	binary, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, program := range binary.Progs {
		if program.Type == elf.PT_INTERP || program.Type == elf.PT_DYNAMIC {
			t.Errorf("it is linked dynamically: it has %v", program.Type)
		}
	}
	output, err := exec.CommandContext(t.Context(), file, "version").CombinedOutput()
	for _, want := range []string{version, revision, "v3.1.2"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("registry version: %v\n%s\nwant %s in it", err, output, want)
		}
	}
}

// checkSBOM checks what an SBOM is about, and one of the components that it lists.
func checkSBOM(t *testing.T, file string) {
	t.Helper()
	type component struct{ Name, Version string }
	var bom struct {
		BOMFormat  string
		Metadata   struct{ Component component }
		Components []component
	}
	if err := json.Unmarshal(read(t, file), &bom); err != nil {
		t.Fatal(err)
	}
	if got, want := bom.Metadata.Component, (component{"github.com/oras-distribution/registry", version}); bom.BOMFormat != "CycloneDX" || got != want {
		t.Errorf("it is a %s about %v, want a CycloneDX about %v", bom.BOMFormat, got, want)
	}
	for _, c := range bom.Components {
		if c == (component{"github.com/distribution/distribution/v3", "v3.1.2"}) {
			return
		}
	}
	t.Errorf("it does not list distribution v3.1.2: %v", bom.Components)
}

// checkConfig checks that an archive holds an image for this machine's platform, labeled
// with the version.
func checkConfig(t *testing.T, file string) {
	t.Helper()
	var configs []string
	archive := tar.NewReader(bytes.NewReader(read(t, file)))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Size > 1<<16 || !strings.Contains(header.Name, "blobs/sha256/") {
			continue
		}
		blob, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			OS, Architecture string
			Config           struct {
				User       string
				Entrypoint []string
				Labels     map[string]string
			}
		}
		if json.Unmarshal(blob, &config) != nil || config.OS == "" {
			continue
		}
		configs = append(configs, config.OS+"/"+config.Architecture)
		if c := config.Config; c.User != "65532:65532" || len(c.Entrypoint) != 1 || c.Labels["org.opencontainers.image.version"] != version {
			t.Errorf("the image's configuration is %+v", c)
		}
	}
	if want := "linux/" + runtime.GOARCH; len(configs) != 1 || configs[0] != want {
		t.Errorf("the archive has images for %v, want one for %s", configs, want)
	}
}

// verifyAsDocumented runs the commands of docs/releasing.md on a release, and pushes its
// image to a registry.
func verifyAsDocumented(t *testing.T, folder string) {
	t.Helper()
	server := harness.Start(t, harness.Options{})
	shell := documents.Shell{Folder: folder, Env: os.Environ(), Names: []string{
		"v0.1.0", version, "amd64", runtime.GOARCH,
		"docker://registry.example.com", "--dest-tls-verify=false docker://" + server.Addr,
	}}
	documents.Run(t, shell, documents.Read(t, "docs/releasing.md").In("Verifying one"))
	if tags := harness.NewClient(t, server.URL).Tags("registry"); len(tags) != 1 || tags[0] != version {
		t.Errorf("the tags of the pushed image are %v, want %s", tags, version)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
