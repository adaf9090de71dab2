// Package progress shows the progress of a long command: a bar on a terminal, and a
// plain line now and then everywhere else.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// How often a line is written, and how often the bar on a terminal is drawn.
const (
	lineInterval = 10 * time.Second
	drawInterval = 200 * time.Millisecond
)

// Reporter counts work and shows it. Its methods may be called from many goroutines,
// and do nothing on a nil Reporter.
type Reporter struct {
	what   string
	out    io.Writer
	bar    *progressbar.ProgressBar // nil: write lines instead
	ticker <-chan time.Time
	stop   chan struct{}
	ended  chan struct{}

	mu       sync.Mutex
	names    []string // in the order of their first use
	counts   map[string]int64
	expected map[string]int64
}

// New starts a Reporter that writes to w; what describes the work. Done ends it.
func New(w io.Writer, what string) *Reporter {
	file, ok := w.(*os.File)
	interval := lineInterval
	var bar *progressbar.ProgressBar
	if ok && term.IsTerminal(int(file.Fd())) {
		interval = drawInterval
		bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
			progressbar.OptionSetWidth(20), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	}
	ticker := time.NewTicker(interval)
	r := newReporter(w, what, bar, ticker.C)
	go func() { <-r.ended; ticker.Stop() }()
	return r
}

func newReporter(w io.Writer, what string, bar *progressbar.ProgressBar, ticker <-chan time.Time) *Reporter {
	r := &Reporter{
		what: what, out: w, bar: bar, ticker: ticker,
		stop: make(chan struct{}), ended: make(chan struct{}),
		counts: map[string]int64{}, expected: map[string]int64{},
	}
	go r.run()
	return r
}

// Add adds n to a counter. The one named "bytes" is shown as a size.
func (r *Reporter) Add(counter string, n int64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.counts[counter]; !known {
		r.names = append(r.names, counter)
	}
	r.counts[counter] += n
}

// Expect adds n to the expected total of a counter, which the bar is scaled to.
func (r *Reporter) Expect(counter string, n int64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected[counter] += n
}

// Done ends the display, with a last line where there is no bar. It is called once.
func (r *Reporter) Done() {
	if r == nil {
		return
	}
	close(r.stop)
	<-r.ended
}

func (r *Reporter) run() {
	defer close(r.ended)
	for {
		select {
		case <-r.ticker:
			r.show()
		case <-r.stop:
			if r.bar != nil {
				_ = r.bar.Finish() // clears the bar's line
				return
			}
			r.show()
			return
		}
	}
}

// show draws the state once. Failing to do so is not an error.
func (r *Reporter) show() {
	line, done, total := r.state()
	if r.bar == nil {
		_, _ = fmt.Fprintln(r.out, line)
		return
	}
	r.bar.Describe(line)
	if total > done {
		r.bar.ChangeMax64(total)
		_ = r.bar.Set64(done)
	}
}

// state returns the text to show, how much is done, and the expected total.
func (r *Reporter) state() (line string, done, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := make([]string, 0, len(r.names))
	for _, counter := range r.names {
		name := counter
		count := fmt.Sprint(r.counts[name])
		switch {
		case name == "bytes":
			parts = append(parts, humanize.Bytes(uint64(r.counts[name])))
			continue
		case r.expected[name] > r.counts[name]:
			count += fmt.Sprint("/", r.expected[name])
		}
		if r.counts[name] == 1 && count == "1" {
			name = singular(name)
		}
		parts = append(parts, count+" "+name)
		done, total = done+min(r.counts[counter], r.expected[counter]), total+r.expected[counter]
	}
	return strings.TrimSuffix(r.what+": "+strings.Join(parts, ", "), ": "), done, total
}

// Count is a number of things, which are named in the plural: "1 repository", "2 manifests".
func Count[N int | int64](n N, things string) string {
	if n == 1 {
		things = singular(things)
	}
	return fmt.Sprint(n, " ", things)
}

// singular is the singular of a regular plural.
func singular(things string) string {
	if stem, ok := strings.CutSuffix(things, "ies"); ok {
		return stem + "y"
	}
	return strings.TrimSuffix(things, "s")
}
