package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

var (
	listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[1-9]\d*)`)
	ready     = regexp.MustCompile(`all repositories are ready`)
)

// serve starts the registry, and measures what it takes until it listens, until it
// answers for a subject, until the background is through, and then listings.
func (s site) serve(state string) error {
	cmd := exec.Command(s.binary, "serve", s.config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	cmd.Stdout, cmd.Stderr = writer, writer
	began := time.Now()
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	address, passed := make(chan string, 1), make(chan time.Duration, 1)
	go follow(reader, began, address, passed)
	url, ok := <-address
	if !ok {
		return errors.New("the registry does not listen")
	}
	if err := s.ask(url, 0, 0); err != nil {
		return err
	}
	s.row("start to the first listing, "+state, time.Since(began), memory(cmd.Process.Pid))
	took, ok := <-passed
	if !ok {
		return errors.New("the registry has ended")
	}
	s.row("start to the end of the background pass, "+state, took, memory(cmd.Process.Pid))
	if err := s.listings(url, state); err != nil {
		return err
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // it writes what it knows
	return cmd.Wait()
}

// follow reads the log until its end.
func follow(log io.Reader, began time.Time, address chan<- string, passed chan<- time.Duration) {
	defer close(address)
	defer close(passed)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			address <- "http://" + match[1]
		}
		if ready.MatchString(lines.Text()) {
			passed <- time.Since(began)
		}
	}
}

// ask lists the referrers of one subject, however often it is told to ask again.
func (s site) ask(url string, repository, i int) error {
	for {
		resp, err := http.Get(url + harness.OCI.Path(s.repository(repository), s.subject(repository, i).Digest()))
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch n := strings.Count(string(body), `"digest"`); {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusOK && n == group-1:
			return nil
		case resp.StatusCode != http.StatusServiceUnavailable:
			return fmt.Errorf("%s: %d referrers: %.300s", resp.Status, n, body)
		}
	}
}

// listings are medians: of subjects that have not been listed before, and again.
func (s site) listings(url, state string) error {
	const subjects = 50
	for _, name := range []string{"first", "repeated"} {
		var took []time.Duration
		for n := range subjects {
			began := time.Now()
			k := n + 1 // the first has been asked for already
			if err := s.ask(url, k%s.repositories, k/s.repositories); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		s.row(name+" listing of 10, "+state, took[subjects/2], 0)
	}
	return nil
}

// memory is the resident set of a process, in bytes.
func memory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	return 0
}
