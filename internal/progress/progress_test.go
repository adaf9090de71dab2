package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/schollz/progressbar/v3"
)

func TestLines(t *testing.T) {
	var out bytes.Buffer
	ticks := make(chan time.Time)
	r := newReporter(&out, "rebuilding", nil, ticks)
	r.Expect("repositories", 2)
	r.Add("repositories", 1)
	r.Add("bytes", 2_000_000)
	ticks <- time.Time{}
	r.Add("repositories", 1)
	r.Done()
	want := "rebuilding: 1/2 repositories, 2.0 MB\nrebuilding: 2 repositories, 2.0 MB\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// A file that is not a terminal gets lines, and no control characters.
func TestNoTerminal(t *testing.T) {
	var out bytes.Buffer
	r := New(&out, "collecting")
	r.Add("blobs", 3)
	r.Done()
	if got := out.String(); got != "collecting: 3 blobs\n" {
		t.Errorf("got %q", got)
	}
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	ticks := make(chan time.Time)
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(&out), progressbar.OptionClearOnFinish())
	r := newReporter(&out, "collecting", bar, ticks)
	r.Expect("manifests", 4)
	r.Add("manifests", 1)
	ticks <- time.Time{}
	ticks <- time.Time{} // the first has been drawn
	r.Done()
	if got := out.String(); !strings.Contains(got, "collecting: 1/4 manifests") || !strings.Contains(got, "25%") {
		t.Errorf("the bar shows %q", got)
	}
}

func TestNilReporterIsSilent(*testing.T) {
	var r *Reporter
	r.Expect("blobs", 1)
	r.Add("blobs", 1)
	r.Done()
}
