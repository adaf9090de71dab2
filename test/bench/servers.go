package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// configuration is the one that `registry serve` uses if it is given none, but for the
// places: with the access log, and the log level that is the default.
const configuration = `version: 0.1
log: {fields: {service: registry}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
http: {addr: 127.0.0.1:0}
`

// server is a started process that listens.
type server struct {
	target
	cmd *exec.Cmd
}

// startRegistry starts a registry, with all its files in a folder.
func startRegistry(binary, folder string) (*server, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, filepath.Join(folder, "data")), 0o644); err != nil {
		return nil, err
	}
	return start(filepath.Join(folder, "log"), binary, "serve", config)
}

// startBare starts this program once more, as a server of bytes from memory.
func startBare(folder string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(filepath.Join(folder, "bare.log"), self, "-bare")
}

// startTimeout is how long a server may take until it listens.
const startTimeout = time.Minute

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[1-9]\d*)`)

// start starts a process that logs to a file, and waits until it says where it listens.
func start(log, binary string, args ...string) (*server, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s := &server{cmd: exec.Command(binary, args...)}
	s.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	s.cmd.Stdout, s.cmd.Stderr = file, file
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil, err
		}
		if match := listening.FindSubmatch(text); match != nil {
			s.URL = "http://" + string(match[1])
			return s, nil
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s does not listen: see %s", binary, log)
}

// processorTime is what the server has used, in user and kernel mode.
func (s *server) processorTime() time.Duration {
	if s == nil {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	const tick = 10 * time.Millisecond // on all architectures that Go has
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// serveBare answers a GET with the bytes that were PUT before, and does nothing else: the
// least that a server written with net/http can cost.
func serveBare(out io.Writer) error {
	var bodies sync.Map
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			var content bytes.Buffer
			_, _ = content.ReadFrom(r.Body) // what is missing is missed by those who get it
			bodies.Store(r.URL.Path, content.Bytes())
			w.WriteHeader(http.StatusCreated)
			return
		}
		stored, _ := bodies.Load(r.URL.Path)
		body, _ := stored.([]byte)
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "listening on", listener.Addr()); err != nil {
		return err
	}
	return http.Serve(listener, http.HandlerFunc(handler))
}
