//go:build e2e

package local

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// replicas are what the stack calls them.
var replicas = []string{"registry-1", "registry-2", "registry-3"}

// settings are the variables of the replicas: they notice soon that the storage fails, and a
// collection does not have to wait for minutes until a replica that was killed is gone.
var settings = []string{
	"REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL=1s", "REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD=2",
	"REGISTRY_EXTENSIONS_COLLECTION_PACE=2s", "REGISTRY_EXTENSIONS_COLLECTION_INTERVAL=0s",
	"REGISTRY_EXTENSIONS_OCI_ORASARTIFACTS=true", // the OCI route lists everything
	"REGISTRY_LOG_ACCESSLOG_DISABLED=true", "OTEL_TRACES_EXPORTER=none",
}

// stack is a running stack.
type stack struct {
	t      *testing.T
	folder string
	env    []string
	// addr is that of the proxy, debug those of the replicas' debug servers by name.
	addr  string
	debug map[string]string
}

var place = regexp.MustCompile(`^(?:the registry|(registry-\d)): (127\.0\.0\.1:\d+)(?:, debug (127\.0\.0\.1:\d+))?$`)

// up starts a stack, which ends with the test.
func up(t *testing.T) *stack {
	t.Helper()
	s := &stack{t: t, folder: filepath.Join(t.TempDir(), "stack"), debug: map[string]string{}}
	s.env = append(append(os.Environ(), settings...), "REGISTRY="+harness.Binary(t))
	cmd := s.command("up")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the stack does not stop: %v", err)
		}
		s.expectQuiet()
	})
	for lines := bufio.NewScanner(stdout); s.addr == "" && lines.Scan(); {
		switch match := place.FindStringSubmatch(lines.Text()); {
		case match == nil:
			t.Fatalf("the stack prints %q", lines.Text())
		case match[1] != "":
			s.debug[match[1]] = match[3]
		default:
			s.addr = match[2]
		}
	}
	if s.addr == "" || len(s.debug) != len(replicas) {
		t.Fatal("the stack does not start: redis-server, caddy and curl are needed (Debian: see test/e2e/install)")
	}
	return s
}

func (s *stack) command(args ...string) *exec.Cmd {
	args = slices.Insert(args, 1, s.folder)
	cmd := exec.Command(filepath.Join(harness.Root(), "deploy", "local", "stack"), args...)
	cmd.Env = s.env
	return cmd
}

// do runs a command of the stack: start, stop, kill or restart, and of what.
func (s *stack) do(args ...string) {
	s.t.Helper()
	started := time.Now()
	// Its output goes to a file: what it starts goes on, and would keep a pipe open.
	output, err := os.Create(filepath.Join(s.t.TempDir(), "output"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer output.Close()
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(output.Name())
		s.t.Fatalf("stack %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	s.t.Logf("%s took %s", strings.Join(args, " "), time.Since(started).Round(time.Millisecond))
}

// client is a client of the proxy.
func (s *stack) client() *harness.Client { return harness.NewClient(s.t, "http://"+s.addr) }

// registry runs a command of the registry on the configuration of the replicas.
func (s *stack) registry(args ...string) harness.Result {
	s.t.Helper()
	port := s.port("s3")
	env := append(slices.Clone(settings),
		"REGISTRY_STORAGE_S3_REGIONENDPOINT=http://127.0.0.1:"+port, "REGISTRY_STORAGE_S3_SECURE=false",
		"REGISTRY_STORAGE_S3_ACCESSKEY=registry", "REGISTRY_STORAGE_S3_SECRETKEY=for-trying-it",
		"REGISTRY_REDIS_ADDRS=[127.0.0.1:"+s.port("redis")+"]")
	return harness.RunWith(s.t, env, append(args, filepath.Join(harness.Root(), "deploy", "compose", "registry.yml"))...)
}

// port is the port of one of the servers.
func (s *stack) port(name string) string {
	s.t.Helper()
	content, err := os.ReadFile(filepath.Join(s.folder, "ports"))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if port, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return port
		}
	}
	s.t.Fatalf("no port of %s in\n%s", name, content)
	return ""
}

// await asks all replicas whether they are ready until they answer with a status.
func (s *stack) await(status int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for _, name := range replicas {
		client := harness.NewClient(s.t, "http://"+s.debug[name])
		for {
			response, err := client.Do(ctx, harness.Request{Method: http.MethodGet, Path: "/debug/ready"})
			if err == nil && response.Status == status {
				break
			}
			select {
			case <-ctx.Done():
				s.t.Fatalf("%s does not answer %d: %v, %v", name, status, response, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// expectQuiet expects no replica to have panicked.
func (s *stack) expectQuiet() {
	for _, name := range append([]string{"proxy", "s3"}, replicas...) {
		content, err := os.ReadFile(filepath.Join(s.folder, "logs", name+".log"))
		if err != nil {
			s.t.Error(err)
		}
		if slices.Contains(replicas, name) && strings.Contains(string(content), "panic") {
			s.t.Errorf("%s has logged a panic: %.5000s", name, content[strings.Index(string(content), "panic"):])
		}
		if s.t.Failed() {
			s.t.Logf("the end of the log of %s:\n%s", name, content[max(0, len(content)-3000):])
		}
	}
}
