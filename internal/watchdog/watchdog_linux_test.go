package watchdog

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const timeout = 2 * time.Second

// role is what a child process of these tests does.
const role = "WATCHDOG_TEST"

// TestMain is the main function of the children, too.
func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	w, err := New(timeout)
	if err != nil {
		panic(err)
	}
	done := w.Guard()
	w.Guard()()
	if os.Getenv(role) == "at rest" {
		done()
	}
	_, _ = fmt.Fprintln(os.Stdout, "ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is told to end
}

// child starts a process, and returns once it is ready. told ends it.
func child(t *testing.T, does string) (cmd *exec.Cmd, told func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+does)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("the child says %q: %v", line, err)
	}
	return cmd, func() { stdin.Close() }
}

func signal(t *testing.T, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// killed reports whether SIGKILL has ended a process.
func killed(cmd *exec.Cmd) bool {
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// A stopped process is killed without ever going on.
func TestStopped(t *testing.T) {
	t.Parallel()
	cmd, _ := child(t, "guarded")
	signal(t, cmd, syscall.SIGSTOP)
	if err := cmd.Wait(); !killed(cmd) {
		t.Errorf("the process was not killed: %v", err)
	}
}

// A process that runs is not killed, and neither is one that was stopped while it guarded
// nothing.
func TestLeftAlone(t *testing.T) {
	t.Parallel()
	for _, does := range []string{"guarded", "at rest"} {
		t.Run(does, func(t *testing.T) {
			t.Parallel()
			cmd, told := child(t, does)
			if does == "at rest" {
				signal(t, cmd, syscall.SIGSTOP)
			}
			<-time.After(5 * timeout / 2)
			if does == "at rest" {
				signal(t, cmd, syscall.SIGCONT)
			}
			told()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
