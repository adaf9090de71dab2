//go:build e2e

// Package interop runs real clients, as processes, against the registry. Their
// versions are pinned in test/clients/go.mod.
package interop_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/pinned"
	"github.com/oras-distribution/registry/test/replicas"
)

// commandTimeout is how long a command of a client may take.
const commandTimeout = 2 * time.Minute

// workspace is a user's folder with a few files, and a registry to use from there.
type workspace struct {
	*harness.Registry
	t      *testing.T
	folder string
	env    []string
}

var count = flag.Int("interop.replicas", 1, "how many registries on one storage the clients use, which take turns")

// start starts a registry; or, if it is not one of another make, several behind a proxy, on
// the storage of harness.StorageVariable if that is set.
func start(t *testing.T, options harness.Options) *harness.Registry {
	t.Helper()
	if *count == 1 || options.Binary != "" {
		return harness.Start(t, options)
	}
	list := replicas.Start(t, *count, options)
	proxy := *list[0]
	proxy.Addr = replicas.Balance(t, list)
	proxy.URL = "http://" + proxy.Addr
	return &proxy
}

// newWorkspace starts a registry and makes a folder with hello.txt, sbom.json, note.txt
// and layer.tar.
func newWorkspace(t *testing.T, options harness.Options) *workspace {
	t.Helper()
	clients := pinned.Clients(t)
	w := &workspace{Registry: start(t, options), t: t, folder: t.TempDir()}
	w.env = append(os.Environ(),
		"PATH="+clients+":"+os.Getenv("PATH"),
		"HOME="+w.folder, "XDG_CONFIG_HOME="+w.folder, "XDG_CACHE_HOME="+w.folder, "DOCKER_CONFIG="+w.folder,
		"COSIGN_PASSWORD=",
		// A client that connects to anything but the registry fails.
		"HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1,localhost")
	w.write("hello.txt", []byte("hello\n"))
	w.write("note.txt", []byte("a note\n"))
	w.write("sbom.json", []byte(`{"sbom":1}`))
	w.write("layer.tar", layer(t, "hello.txt", "hello\n"))
	return w
}

// layer makes a tar archive of one file.
func layer(t *testing.T, name, content string) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func (w *workspace) write(name string, content []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.folder, name), content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workspace) read(name string) string {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.folder, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

// ref is a reference to something in the registry: its address before a
// repository with a tag or digest.
func (w *workspace) ref(reference string) string { return w.Addr + "/" + reference }

// exec runs a command in the workspace's folder.
func (w *workspace) exec(env []string, command ...string) (stdout, stderr string, err error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), commandTimeout)
	defer cancel()
	path := command[0]
	if !strings.Contains(path, "/") {
		if client := filepath.Join(pinned.Clients(w.t), path); isFile(client) {
			path = client
		}
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, path, command[1:]...)
	cmd.Dir, cmd.Env = w.folder, append(slices.Clone(w.env), env...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// run runs a command that must succeed and returns its output, without surrounding white
// space.
func (w *workspace) run(command ...string) string {
	w.t.Helper()
	return w.runWith(nil, command...)
}

// runWith is run with further environment variables.
func (w *workspace) runWith(env []string, command ...string) string {
	w.t.Helper()
	stdout, stderr, err := w.exec(env, command...)
	if err != nil {
		w.t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// fails runs a command that must exit with another status than 0, and returns its error
// message.
func (w *workspace) fails(command ...string) string {
	w.t.Helper()
	stdout, stderr, err := w.exec(nil, command...)
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		w.t.Fatalf("%s: expected to fail: %v\n%s%s", strings.Join(command, " "), err, stdout, stderr)
	}
	return stderr
}

// runJSON is run, and decodes the output.
func (w *workspace) runJSON(into any, command ...string) {
	w.t.Helper()
	if output := w.run(command...); json.Unmarshal([]byte(output), into) != nil {
		w.t.Fatalf("%s: not the expected JSON:\n%s", strings.Join(command, " "), output)
	}
}

// image pushes an image with crane and returns its digest.
func (w *workspace) image(reference string) digest.Digest {
	w.t.Helper()
	w.run("crane", "append", "--oci-empty-base", "-f", "layer.tar", "-t", w.ref(reference))
	return digest.Digest(w.run("crane", "digest", w.ref(reference)))
}

// listed are the digests that the registry lists as referrers of a subject.
func (w *workspace) listed(repository string, subject digest.Digest) []digest.Digest {
	w.t.Helper()
	return harness.Digests(w.Client().Referrers(harness.OCI, repository, subject))
}

// fallbackTag is a tag of the referrers tag schema, which clients write that find no
// referrers API.
var fallbackTag = regexp.MustCompile(`^sha\d+-[0-9a-f]{32,}$`)

// expectNoFallback expects no repository to have a tag of the referrers tag schema.
func (w *workspace) expectNoFallback() {
	w.t.Helper()
	var catalog struct{ Repositories []string }
	w.Client().Get("/v2/_catalog?n=100").Expect(http.StatusOK).JSON(&catalog)
	if len(catalog.Repositories) == 0 {
		w.t.Error("there are no repositories: nothing has been tested")
	}
	for _, repository := range catalog.Repositories {
		if tags := w.Client().Tags(repository); slices.ContainsFunc(tags, fallbackTag.MatchString) {
			w.t.Errorf("a client wrote a fallback tag to %s: %q", repository, tags)
		}
	}
}

// expectSame expects two lists to have the same elements, in any order.
func expectSame[T ~string](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, expected %q", what, got, want)
	}
}

// expectContains expects a text to have all the given parts.
func expectContains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s has no %q:\n%s", what, part, text)
		}
	}
}
