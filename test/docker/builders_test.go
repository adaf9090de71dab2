//go:build e2e

package docker

import (
	"archive/tar"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// labels are those that every image carries. Empty values may be any.
var labels = map[string]string{
	"title":         "registry",
	"description":   "",
	"source":        "https://github.com/oras-distribution/registry",
	"documentation": "",
	"licenses":      "Apache-2.0",
	"version":       "v1.2.3-test",
	"revision":      "0123456789abcdef0123456789abcdef01234567",
	"created":       "2026-01-02T03:04:05Z",
}

// Every builder of Docker builds the same image, from source and from a binary that was
// built outside.
func builders(t *testing.T, e *engine) {
	settings := map[string][]string{
		"buildkit": {"DOCKER=" + e.buildKit(), "DOCKER_BUILDKIT=1"},
		"legacy":   {"DOCKER_BUILDKIT=0"},
		"default":  nil, // where docker has no buildx, it warns and takes the legacy builder
	}
	for _, target := range []string{"image-local", "image"} {
		for name, setting := range settings {
			t.Run(target+" "+name, func(t *testing.T) {
				e := e.on(t)
				if target == "image" {
					e.golang("golang:e2e")
				}
				tag := "registry:" + name
				cmd := exec.CommandContext(t.Context(), "make", target, "IMAGE="+tag, "IMAGE_FLAGS=--network none --build-arg GO_VERSION=e2e",
					"VERSION="+labels["version"], "REVISION="+labels["revision"], "CREATED="+labels["created"])
				cmd.Dir, cmd.Env = harness.Root(), append(e.env(), setting...)
				if output, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("make %s: %v\n%s", target, err, output)
				}
				t.Cleanup(func() { e.forget(tag) })
				e.checkImage(tag)
			})
		}
	}
}

// checkImage checks what an image is labeled with, that its registry runs, and that it may
// write its storage.
func (e *engine) checkImage(tag string) {
	e.t.Helper()
	var got map[string]string
	if err := json.Unmarshal([]byte(e.run("image", "inspect", "--format", "{{json .Config.Labels}}", tag)), &got); err != nil {
		e.t.Fatal(err)
	}
	for name, want := range labels {
		if value := got["org.opencontainers.image."+name]; value == "" || want != "" && value != want {
			e.t.Errorf("the label %s is %q, want %q", name, value, want)
		}
	}
	if len(got) != len(labels) {
		e.t.Errorf("the labels are %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(labels)))
	}
	if version := e.run("run", "--rm", "--network", "none", tag, "version"); !strings.Contains(version, labels["version"]) {
		e.t.Errorf("registry version prints:\n%s", version)
	}
	id := e.run("create", tag)
	defer e.run("rm", "--volumes", id)
	folder, err := tar.NewReader(strings.NewReader(e.run("cp", id+":/var/lib/registry", "-"))).Next()
	if err != nil || folder.Uid != 65532 || folder.Gid != 65532 {
		e.t.Errorf("the folder of the storage is %+v (%v), want one of user and group 65532", folder, err)
	}
}

// buildKit is a Docker client that builds with BuildKit: one with buildx, or one before
// version 23.
func (e *engine) buildKit() string {
	e.t.Helper()
	empty := e.t.TempDir()
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		client := filepath.Join(folder, "docker")
		cmd := exec.CommandContext(e.t.Context(), client, "build", "--quiet", "--file", "-", empty)
		cmd.Env, cmd.Stdin = append(e.env(), "DOCKER_BUILDKIT=1"), strings.NewReader("FROM scratch\nLABEL builder=buildkit\n")
		if output, err := cmd.Output(); err == nil {
			e.forget(strings.TrimSpace(string(output)))
			return client
		}
	}
	e.t.Fatal("no docker client builds with BuildKit: install its plugin buildx (Debian: apt-get install docker-buildx, or docker.io before version 23)")
	return ""
}

// toolchain fills a folder with what `make rootfs` needs in Go's image, and a go command
// that has built everything before: it hands out the registry if the packages that it
// consists of are there. A real one would compile for minutes, once for each builder.
const toolchain = `
mkdir -p root/bin root/tmp root/etc/ssl/certs
for tool in bash sh make install mkdir rm cp dirname; do
  path=$(type -P $tool)
  cp -L "$path" root/bin/$tool
  ldd "$path" | grep -o '/[^ ]*' | xargs cp -L --parents -t root
done
cp "$BINARY" root/registry
echo "$PACKAGES" >root/packages
echo none >root/etc/ssl/certs/ca-certificates.crt
cat >root/bin/go <<'EOF'
#!/bin/bash
set -eu
[[ $1 == build ]] || exit 0
while read -r package; do
  [[ -d /src/$package ]] || { echo "$package is not in the build context" >&2; exit 1; }
done </packages
[[ $CGO_ENABLED == 0 && $GOOS == linux && "$*" == *"registry.version=$VERSION "* ]]
while [[ $1 != -o ]]; do shift; done
mkdir -p "$(dirname "$2")"
cp /registry "$2"
EOF
chmod +x root/bin/go
printf 'FROM scratch\nENV PATH=/bin\nCOPY root/ /\n' >Dockerfile
`

// golang builds an image that takes the place of Go's, with the binary of the last
// `make image-local`.
func (e *engine) golang(tag string) {
	e.t.Helper()
	const module = "github.com/oras-distribution/registry/"
	list := exec.CommandContext(e.t.Context(), "go", "list", "-deps", "./cmd/registry")
	list.Dir = harness.Root()
	output, err := list.Output()
	if err != nil {
		e.t.Fatal(err)
	}
	var packages []string
	for name := range strings.FieldsSeq(string(output)) {
		if folder, ours := strings.CutPrefix(name, module); ours {
			packages = append(packages, folder)
		}
	}
	script := exec.CommandContext(e.t.Context(), "bash", "-euc", toolchain)
	script.Dir = e.t.TempDir()
	script.Env = append(os.Environ(), "PACKAGES="+strings.Join(packages, "\n"),
		"BINARY="+filepath.Join(harness.Root(), "dist", "image", "rootfs", runtime.GOARCH, "bin", "registry"))
	if output, err := script.CombinedOutput(); err != nil {
		e.t.Fatalf("%v\n%s", err, output)
	}
	e.run("build", "--tag", tag, script.Dir)
	e.t.Cleanup(func() { e.forget(tag) })
}
