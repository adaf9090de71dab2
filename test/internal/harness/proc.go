package harness

import (
	"fmt"
	"os"
	"strings"
)

// Memory is how much memory the registry has in use, in bytes: its resident set.
func (r *Registry) Memory() int64 {
	r.t.Helper()
	return r.status("VmRSS")
}

// PeakMemory is the most memory that the registry has had in use since it was
// started.
func (r *Registry) PeakMemory() int64 {
	r.t.Helper()
	return r.status("VmHWM")
}

// status is a size that the kernel knows of the process, in bytes.
func (r *Registry) status(name string) int64 {
	r.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, name+": %d kB", &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	r.t.Fatalf("no %s in\n%s", name, status)
	return 0
}

// MiB is that many MiB in bytes, as a limit for Memory; with the race detector it
// is ten times that, for what the detector notes beside each byte.
func MiB(count int64) int64 {
	if Race() {
		count *= 10
	}
	return count << 20
}

// Files is how many files and connections the registry has open.
func (r *Registry) Files() int {
	r.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.PID()))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(entries)
}
