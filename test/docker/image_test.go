//go:build e2e

package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
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
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// startTimeout is how long a container may take until its registry listens.
const startTimeout = time.Minute

// image is the name under which the registry's container image is built.
const image = "registry:e2e"

func TestDocker(t *testing.T) {
	e := startEngine(t)
	for _, file := range []string{"Makefile", "Dockerfile", ".dockerignore"} { // go test does not cache the result if they change
		if _, err := os.Stat(filepath.Join(harness.Root(), file)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "make", "image-local", "IMAGE="+image)
	cmd.Dir, cmd.Env = harness.Root(), e.env()
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make image-local: %v\n%s", err, output)
	}
	t.Cleanup(func() { e.on(t).forget(image) })
	t.Run("builders", func(t *testing.T) { builders(t, e.on(t)) })
	t.Run("the image listens on port 5000", func(t *testing.T) { imageAsItIs(e.on(t)) })
	t.Run("push, pull and restart", func(t *testing.T) { pushPullRestart(e.on(t)) })
	t.Run("stock configuration", func(t *testing.T) { stockConfiguration(e.on(t)) })
	t.Run("sha512 digests", func(t *testing.T) { sha512Digests(e.on(t)) })
	t.Run("mirror", func(t *testing.T) { mirror(e.on(t)) })
	t.Run("walkthrough", func(t *testing.T) { walkthrough(e.on(t)) })
}

// on is the same engine for another test.
func (e *engine) on(t testing.TB) *engine {
	other := *e
	other.t = t
	return &other
}

// forget removes an image, if it is there.
func (e *engine) forget(name string) {
	_ = e.command(context.Background(), "image", "rm", "--force", name).Run()
}

// Without any options the container listens on the expected port. It has no network
// here, so that the port may be in use on the machine.
func imageAsItIs(e *engine) {
	c := e.start("--network", "none")
	if got := c.await(`listening on (\S+:\d+)`); got != "[::]:5000" {
		e.t.Errorf("it listens on %s, want [::]:5000", got)
	}
	format := `{{.Config.User}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}}`
	if got, want := e.run("image", "inspect", "--format", format, image), `65532:65532 {"5000/tcp":{}} {"/var/lib/registry":{}}`; got != want {
		e.t.Errorf("user, ports and volumes of the image are %s, want %s", got, want)
	}
	if got := e.run("top", c.id, "-eo", "pid,uid"); !strings.HasSuffix(got, " 65532") {
		e.t.Errorf("it runs as %s, want 65532", got)
	}
}

// An image that the engine has built is pushed, pulled back, and still there
// after the container was restarted: the volume can be written.
func pushPullRestart(e *engine) {
	c := e.start("--network", "host", "--env", "REGISTRY_HTTP_ADDR=127.0.0.1:0")
	name := c.addr() + "/hello:v1"
	e.build(name)
	built := e.run("image", "inspect", "--format", "{{.Id}}", name)
	e.run("push", name)
	e.forget(name)
	e.run("pull", name)
	if got := e.run("image", "inspect", "--format", "{{.Id}}", name); got != built {
		e.t.Errorf("pulled %s, but pushed %s", got, built)
	}

	e.run("restart", c.id)
	again := c.addr()
	resp, err := http.Get("http://" + again + "/v2/hello/tags/list")
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e.t.Errorf("after a restart the tags of the pushed repository are answered with %s", resp.Status)
	}
	e.run("pull", again+"/hello:v1")
	e.forget(again + "/hello:v1")
}

// An image all of whose digests are sha512 is pulled by its tag and by its digest. The
// engine itself pushes by sha256 digests.
func sha512Digests(e *engine) {
	c := e.start("--network", "host", "--env", "REGISTRY_HTTP_ADDR=127.0.0.1:0")
	addr := c.addr()
	name := addr + "/hello"
	e.build(name + ":v1")
	built := e.run("image", "inspect", "--format", "{{.Id}}", name+":v1")
	e.run("push", name+":v1")
	e.forget(name + ":v1")

	client := harness.NewClient(e.t, "http://"+addr)
	var image v1.Manifest
	pushed := client.GetManifest("hello", "v1").Expect(http.StatusOK)
	if err := json.Unmarshal(pushed.Body, &image); err != nil {
		e.t.Fatal(err)
	}
	for _, desc := range []*v1.Descriptor{&image.Config, &image.Layers[0]} {
		content := client.Get("/v2/hello/blobs/" + desc.Digest.String()).Expect(http.StatusOK).Body
		desc.Digest = client.PushBlobAs("hello", content, digest.SHA512).Digest
	}
	content, err := json.Marshal(image)
	if err != nil {
		e.t.Fatal(err)
	}
	d := digest.SHA512.FromBytes(content).String()
	client.Send(http.MethodPut, harness.ManifestPath("hello", d)+"?tag=v512", content, "Content-Type: "+image.MediaType).Expect(http.StatusCreated)
	for _, ref := range []string{name + ":v512", name + "@" + d} {
		e.run("pull", ref)
		if got := e.run("image", "inspect", "--format", "{{.Id}}", ref); got != built {
			e.t.Errorf("pulled %s as %s, but pushed %s", ref, got, built)
		}
		e.forget(ref)
	}
}

// The configuration of the stock image, mounted at the same path as there.
func stockConfiguration(e *engine) {
	list := exec.CommandContext(e.t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/distribution/distribution/v3")
	module, err := list.Output()
	if err != nil {
		e.t.Fatal(err)
	}
	stock := filepath.Join(strings.TrimSpace(string(module)), "cmd", "registry", "config-dev.yml")
	c := e.start("--network", "host", "--volume", stock+":/etc/distribution/config.yml:ro",
		"--env", "REGISTRY_HTTP_ADDR=127.0.0.1:0", "--env", "REGISTRY_HTTP_DEBUG_ADDR=127.0.0.1:0")
	name := c.addr() + "/hello:v1"
	e.build(name)
	e.run("push", name)
	e.forget(name)
	e.run("pull", name)
	e.forget(name)
	if log := c.log(); !strings.Contains(log, "environment=development") {
		e.t.Errorf("the log does not have the field that the mounted configuration sets:\n%s", log)
	}
}

// The walkthrough with docker, as `make demo` shows it and pasted into zsh. It leaves
// nothing behind, neither in the engine nor in files.
func walkthrough(e *engine) {
	for _, shell := range [][]string{nil, {"zsh", "-f", "-i"}} {
		before, files := e.holds(), e.t.TempDir()
		arguments := append([]string{harness.Binary(e.t), "docker"}, shell...)
		cmd := exec.CommandContext(e.t.Context(), filepath.Join(harness.Root(), "test", "demo", "walkthrough"), arguments...)
		cmd.Env = append(e.env(), "TMPDIR="+files, "HOME="+files)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			e.t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
		}
		if !regexp.MustCompile(`\[127\.0\.0\.1:\d+/hello\]`).MatchString(stdout.String()) {
			e.t.Errorf("docker pushed nothing:\n%s%s", stdout.String(), stderr.String())
		}
		if !strings.HasSuffix(stdout.String(), "\nVerified OK\n") {
			e.t.Errorf("the walkthrough does not end with the verified signature:\n%s%s", stdout.String(), stderr.String())
		}
		if after := e.holds(); after != before {
			e.t.Errorf("after the walkthrough the engine holds\n%s\nwant what it held before:\n%s", after, before)
		}
		if left, err := os.ReadDir(files); err != nil || len(left) > 0 {
			e.t.Errorf("the walkthrough leaves the files %v (%v)", left, err)
		}
	}
}

// holds lists the images, containers, volumes and networks of the engine.
func (e *engine) holds() string {
	e.t.Helper()
	lists := []string{
		e.run("image", "ls", "--all", "--quiet"), e.run("container", "ls", "--all", "--quiet"),
		e.run("volume", "ls", "--quiet"), e.run("network", "ls", "--quiet"),
	}
	return strings.Join(slices.Sorted(slices.Values(strings.Fields(strings.Join(lists, "\n")))), "\n")
}

// build builds an image with one file in it.
func (e *engine) build(name string) {
	e.t.Helper()
	folder := e.t.TempDir()
	for file, content := range map[string]string{"Dockerfile": "FROM scratch\nCOPY hello.txt /\nCMD [\"/hello\"]\n", "hello.txt": e.t.Name()} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
	e.run("build", "--tag", name, folder)
}

// container is a container of the registry's image.
type container struct {
	*engine
	id      string
	started int // how often addr was asked
}

// start starts the registry's image with the given options of docker run. The
// container and its volume end with the test.
func (e *engine) start(options ...string) *container {
	e.t.Helper()
	id := e.run(append(append([]string{"run", "--detach"}, options...), image)...)
	c := &container{engine: e, id: id}
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Logf("the log of the container:\n%s", c.log())
		}
		_ = e.command(context.Background(), "rm", "--force", "--volumes", id).Run()
	})
	return c
}

// log is what the container has written so far.
func (c *container) log() string {
	output, err := c.command(context.Background(), "logs", c.id).CombinedOutput()
	return fmt.Sprint(string(output), errorText(err))
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// addr is the address on which the registry of the container listens; after a restart, it
// is the new address.
func (c *container) addr() string {
	c.t.Helper()
	c.started++
	return c.await(fmt.Sprintf(`(?:(?s:.*)listening on (127\.0\.0\.1:\d+)){%d}`, c.started))
}

// await waits until the log of the container matches, and returns the group in the
// pattern.
func (c *container) await(pattern string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startTimeout)
	defer cancel()
	follow := c.command(ctx, "logs", "--follow", c.id)
	output, err := follow.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	follow.Stdout = nil
	if err := follow.Start(); err != nil {
		c.t.Fatal(err)
	}
	defer func() { cancel(); _ = follow.Wait() }()
	expression, text := regexp.MustCompile(pattern), ""
	for lines := bufio.NewScanner(output); lines.Scan(); {
		text += lines.Text() + "\n"
		if match := expression.FindStringSubmatch(text); match != nil {
			return match[1]
		}
	}
	c.t.Fatalf("the log of the container does not contain %q:\n%s", pattern, text)
	return ""
}
