//go:build e2e

package docker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// engineTimeout is how long a Docker engine may take until it answers.
const engineTimeout = time.Minute

// engine is a running Docker engine.
type engine struct {
	t    testing.TB
	host string // the address of its socket; empty for the client's own default

	// The path of its configuration, and its process; none of the machine's engine.
	config  string
	process *os.Process
}

// startEngine returns the machine's engine if it answers, or else starts one that ends
// with the test. That one uses neither bridges nor a firewall, so that it runs where
// those are forbidden; its containers have the host's network or none.
func startEngine(t testing.TB) *engine {
	t.Helper()
	for _, tool := range []string{"docker", "dockerd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: install a Docker engine (Debian: apt-get install docker.io, see test/e2e/install)", err)
		}
	}
	e := &engine{t: t}
	if exec.CommandContext(t.Context(), "docker", "info").Run() == nil {
		return e
	}
	if os.Geteuid() != 0 {
		t.Fatal("no Docker engine answers, and only root can start one: start it, or run the test as root")
	}
	folder, err := os.MkdirTemp("", "docker") //nolint:usetesting // the name of TempDir can be too long for that of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The engine leaves this mount behind.
		_ = syscall.Unmount(filepath.Join(folder, "exec", "netns", "default"), syscall.MNT_DETACH)
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	e.host, e.config = "unix://"+filepath.Join(folder, "socket"), filepath.Join(folder, "daemon.json")
	e.configure("{}")
	e.serve(folder, "overlay2", "vfs")
	return e
}

// serve starts dockerd with the first of the storage drivers that works.
func (e *engine) serve(folder string, drivers ...string) {
	e.t.Helper()
	var logs strings.Builder
	for _, driver := range drivers {
		log := &lockedBuilder{}
		cmd := exec.Command("dockerd", "--config-file="+e.config, "--iptables=false", "--bridge=none", "--storage-driver="+driver, "--host="+e.host,
			"--data-root="+filepath.Join(folder, "data"), "--exec-root="+filepath.Join(folder, "exec"),
			"--pidfile="+filepath.Join(folder, "pid"))
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			e.t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = cmd.Wait() }()
		stop := func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-ended
		}
		if e.answers(ended) {
			e.process = cmd.Process
			e.t.Cleanup(stop)
			return
		}
		stop()
		logs.WriteString(log.String())
	}
	e.t.Fatalf("dockerd does not start:\n%s", logs.String())
}

// configure writes the engine's configuration, and has a running engine read it.
func (e *engine) configure(daemonJSON string) {
	e.t.Helper()
	if err := os.WriteFile(e.config, []byte(daemonJSON), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if e.process == nil {
		return
	}
	if err := e.process.Signal(syscall.SIGHUP); err != nil {
		e.t.Fatal(err)
	}
}

// answers waits until the engine answers; false if it ends before that.
func (e *engine) answers(ended <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(e.t.Context(), engineTimeout)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if e.command(ctx, "version").Run() == nil {
			return true
		}
		select {
		case <-tick.C:
		case <-ended:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = e.env()
	return cmd
}

func (e *engine) env() []string {
	if e.host == "" {
		return os.Environ()
	}
	return append(os.Environ(), "DOCKER_HOST="+e.host)
}

// run runs a docker command and returns its output, without surrounding white space.
func (e *engine) run(args ...string) string {
	e.t.Helper()
	var stderr strings.Builder
	cmd := e.command(e.t.Context(), args...)
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		e.t.Fatalf("docker %s: %v\n%s%s", strings.Join(args, " "), err, output, stderr.String())
	}
	return strings.TrimSpace(string(output))
}

// lockedBuilder is a strings.Builder that may be read while it is written.
type lockedBuilder struct {
	mu      sync.Mutex
	builder strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.builder.Write(p)
}

func (b *lockedBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.builder.String()
}
