package harness

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
)

// Result is what a command of the registry's has done.
type Result struct {
	Exit           int
	Stdout, Stderr string
}

// Run runs the registry's executable with the given arguments to its end.
func Run(t testing.TB, args ...string) Result {
	t.Helper()
	return RunWith(t, nil, args...)
}

// RunWith is Run with further environment variables.
func RunWith(t testing.TB, env []string, args ...string) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), Binary(t), args...)
	cmd.Env = append(environment(), env...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{Exit: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}
