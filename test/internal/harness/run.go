package harness

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Result is the result of a command of the registry.
type Result struct {
	Exit           int
	Stdout, Stderr string
	// CPU is the processor time that it used.
	CPU time.Duration
}

// runTimeout is how long a command may take.
const runTimeout = 5 * time.Minute

// Run runs the registry's executable with the given arguments to its end.
func Run(t testing.TB, args ...string) Result {
	t.Helper()
	return RunWith(t, nil, args...)
}

// RunWith is Run with further environment variables.
func RunWith(t testing.TB, env []string, args ...string) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(environment(), env...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s does not end within %s", strings.Join(args, " "), runTimeout)
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	expectQuiet(t, stderr.String())
	state := cmd.ProcessState
	return Result{
		Exit: state.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String(),
		CPU: state.UserTime() + state.SystemTime(),
	}
}
