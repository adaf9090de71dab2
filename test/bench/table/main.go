// Command table reads the output of `go test -bench` and prints it, followed by a table
// of the comparisons.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

var (
	name   = regexp.MustCompile(`^Benchmark(\S+?)(-\d+)?\s+\d+\s`)
	metric = regexp.MustCompile(`([0-9.e+]+) (\S+)`)
)

func run(in io.Reader, out io.Writer) error {
	rows := []string{"\nbenchmark\tper second\tbaseline\tratio"}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
		match := name.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		metrics := map[string]string{}
		for _, m := range metric.FindAllStringSubmatch(line, -1) {
			metrics[m[2]] = m[1]
		}
		if ratio, ok := metrics["ratio"]; ok {
			rows = append(rows, strings.Join([]string{match[1], metrics["req/s"], metrics["baseline-req/s"], ratio}, "\t"))
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(w, strings.Join(rows, "\n")); err != nil {
		return err
	}
	return w.Flush()
}
