package harness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say how a registry is started.
type Options struct {
	// Driver is Filesystem, which is the default, InMemory or External.
	Driver string
	// Root is the folder of the filesystem driver, or the name of the tree on an external
	// one; by default a new one.
	Root string
	// Config is YAML that is merged into the configuration of the tests: mappings are
	// merged, everything else is replaced, and null removes a key.
	Config string
	// Env are further environment variables, as "NAME=value".
	Env []string
	// Args replace the arguments "serve CONFIG"; "CONFIG" stands for the path of
	// the configuration file.
	Args []string
	// Binary is another executable than this project's.
	Binary string
}

// Registry is a running registry.
type Registry struct {
	// URL is where it listens, without a slash at the end.
	URL string
	// Addr is the same as host and port.
	Addr string
	// Root is the Root of its Options.
	Root string
	// Config is the path of its configuration file.
	Config string

	t       testing.TB
	options Options
	process *process
	earlier bytes.Buffer
}

// startTimeout is how long a registry may take until it listens, and how long
// until it has stopped.
const startTimeout = 60 * time.Second

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[1-9]\d*)(, tls)?`)

// Start starts a registry and waits until it listens. It ends with the test, which fails
// if the registry has logged a data race or a panic. A failed test shows the log.
func Start(t testing.TB, o Options) *Registry {
	t.Helper()
	if o.Driver == "" {
		o.Driver = Filesystem
	}
	if o.Root == "" {
		o.Root = o.newRoot(t)
	}
	if o.Binary == "" {
		o.Binary = Binary(t)
	}
	r := &Registry{t: t, options: o, Root: o.Root, Config: o.configFile(t)}
	r.start()
	t.Cleanup(func() {
		r.process.kill()
		expectQuiet(t, r.Log())
		if t.Failed() {
			t.Logf("the log of the registry, without its requests:\n%s", tail(remarkable(r.Log()), 5000))
		}
	})
	return r
}

func (r *Registry) start() {
	r.t.Helper()
	p, err := launch(r.options.Binary, r.args(), r.options.Env)
	if err != nil {
		r.t.Fatal(err)
	}
	r.process = p
	line, err := p.await(listening)
	if err != nil {
		p.kill()
		r.t.Fatalf("the registry does not listen: %v\n%s", err, p.log())
	}
	match := listening.FindStringSubmatch(line)
	r.Addr, r.URL = match[1], "http://"+match[1]
	if match[2] != "" {
		r.URL = "https://" + match[1]
	}
}

func (r *Registry) args() []string {
	if r.options.Args == nil {
		return []string{"serve", r.Config}
	}
	args := make([]string, len(r.options.Args))
	for i, arg := range r.options.Args {
		args[i] = strings.ReplaceAll(arg, "CONFIG", r.Config)
	}
	return args
}

// Stop asks the registry to end and waits until it has. It returns what ended
// it: nil for exit status 0.
func (r *Registry) Stop() error {
	r.t.Helper()
	_ = r.process.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.process.done:
	case <-time.After(startTimeout):
		r.t.Errorf("the registry does not end on SIGTERM")
		r.process.kill()
	}
	return r.process.err
}

// Kill ends the registry at once, with SIGKILL, and waits until it is gone.
func (r *Registry) Kill() { r.process.kill() }

// Restart stops the registry, if it runs, and starts it again with the same
// configuration. It gets another port.
func (r *Registry) Restart() {
	r.t.Helper()
	_ = r.Stop()
	r.again()
}

// RestartWith is Restart with another executable.
func (r *Registry) RestartWith(binary string) {
	r.t.Helper()
	_ = r.Stop()
	r.options.Binary = binary
	r.again()
}

// RestartConfigured is Restart with another Options.Config.
func (r *Registry) RestartConfigured(config string) {
	r.t.Helper()
	_ = r.Stop()
	r.options.Config = config
	write(r.t, r.Config, r.options.configuration(r.t))
	r.again()
}

func (r *Registry) again() {
	r.t.Helper()
	r.earlier.WriteString(r.process.log())
	r.start()
}

// Log is all that the registry has written so far, to both streams.
func (r *Registry) Log() string { return r.earlier.String() + r.process.log() }

// AwaitLog waits until the registry has written a line that matches, and
// returns it. Lines written before the call count.
func (r *Registry) AwaitLog(pattern string) string {
	r.t.Helper()
	line, err := r.process.await(regexp.MustCompile(pattern))
	if err != nil {
		r.t.Fatalf("waiting for %q in the log: %v\n%s", pattern, err, tail(r.Log(), 5000))
	}
	return line
}

// PID is the process id.
func (r *Registry) PID() int { return r.process.cmd.Process.Pid }

// Done is closed when the process has ended.
func (r *Registry) Done() <-chan struct{} { return r.process.done }

// Client is a client of the registry.
func (r *Registry) Client() *Client { return NewClient(r.t, r.URL) }

// FreeAddr is an address on the loopback interface without a listener.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// AwaitHTTP waits until something answers at url, and returns the body.
func AwaitHTTP(t testing.TB, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return string(body)
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nothing answers at %s: %v", url, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// process is a started executable and what it has written.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of the process, once done is closed

	mu    sync.Mutex
	lines []string
	grown chan struct{} // closed when there is a new line
}

func launch(binary string, args, env []string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), done: make(chan struct{}), grown: make(chan struct{})}
	p.cmd.Env = append(environment(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	err = p.cmd.Start()
	writer.Close()
	if err != nil {
		reader.Close()
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	go func() {
		defer reader.Close()
		p.read(reader)
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// environment is the environment of the test without variables that configure the
// registry, and without trace exporters.
func environment() []string {
	kept := []string{"OTEL_TRACES_EXPORTER=none"}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "REGISTRY_") && !strings.HasPrefix(entry, "OTEL_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func (p *process) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			p.lines = append(p.lines, line)
			close(p.grown)
			p.grown = make(chan struct{})
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// await returns the first line that matches.
func (p *process) await(pattern *regexp.Regexp) (string, error) {
	timeout := time.After(startTimeout)
	for next := 0; ; {
		p.mu.Lock()
		lines, grown := p.lines, p.grown
		p.mu.Unlock()
		for ; next < len(lines); next++ {
			if pattern.MatchString(lines[next]) {
				return lines[next], nil
			}
		}
		select {
		case <-grown:
		case <-p.done:
			if p.mu.Lock(); len(p.lines) == next {
				p.mu.Unlock()
				return "", errors.Join(errors.New("the process has ended"), p.err)
			}
			p.mu.Unlock()
		case <-timeout:
			return "", fmt.Errorf("not within %s", startTimeout)
		}
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "")
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// expectQuiet expects no data race and no panic in what a registry has written.
func expectQuiet(t testing.TB, log string) {
	t.Helper()
	for _, never := range []string{"DATA RACE", "panic"} {
		if at := strings.Index(log, never); at >= 0 {
			t.Errorf("a registry has logged: %.5000s", log[at:])
		}
	}
}

// remarkable is a log without the lines of ordinary requests.
func remarkable(log string) string {
	var kept strings.Builder
	for line := range strings.Lines(log) {
		answered := strings.Contains(line, "response completed") && !strings.Contains(line, " http.response.status=500")
		if !answered && !strings.Contains(line, "authorized request") && !accessLine.MatchString(line) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

var accessLine = regexp.MustCompile(`^[0-9.]+ - \S+ \[`)

func tail(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return "…" + text[len(text)-size:]
}
