// Command table reads the output of `go test -bench` and prints, beside it, what
// was measured side by side as a table: each row that has a baseline, held
// against it.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
)

// baselines are the last parts of the names of benchmarks that belong together:
// what is measured, and what it is held against.
var baselines = map[string]string{
	"from=registry": "from=memory",
	"by=registry":   "by=stock",
	"answer=first":  "answer=next",
}

var result = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	times := map[string]float64{} // the last measurement counts
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if _, err := fmt.Fprintln(out, lines.Text()); err != nil {
			return err
		}
		if m := result.FindStringSubmatch(lines.Text()); m != nil {
			ns, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return err
			}
			times[m[1]] = ns
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return write(out, times)
}

func write(out io.Writer, times map[string]float64) error {
	var rows []string
	for name, ns := range times {
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			continue
		}
		if base, ok := times[name[:cut+1]+baselines[name[cut+1:]]]; ok && baselines[name[cut+1:]] != "" {
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%.2f", name, perSecond(ns), perSecond(base), base/ns))
		}
	}
	sort.Strings(rows)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintf(w, "\nbenchmark\tper second\tbaseline\tratio\n%s\n", strings.Join(rows, "\n"))
	if err != nil {
		return err
	}
	return w.Flush()
}

func perSecond(ns float64) string { return strconv.FormatFloat(1e9/ns, 'f', 1, 64) }
