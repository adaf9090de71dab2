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

// PeakMemory is the peak resident set of the registry since it was started.
func (r *Registry) PeakMemory() int64 {
	r.t.Helper()
	return r.status("VmHWM")
}

// status is a size in the kernel's status of the process, in bytes.
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

// MiB converts MiB to bytes, as a limit for Memory; with the race detector the limit is
// ten times as high, because the detector records data about each byte.
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
