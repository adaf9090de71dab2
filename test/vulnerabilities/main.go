// Command vulnerabilities compares the JSON output of govulncheck with the list of
// explained vulnerabilities: none may be missing in the list, and the list may not
// contain any that is no longer found.
//
//	govulncheck -format json ./... | vulnerabilities OLDEST LIST
//
// OLDEST is the oldest version of Go that may build the registry, LIST is the Markdown
// file with the table.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: vulnerabilities OLDEST LIST")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Args[1], os.Args[2], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vulnerabilities:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, oldest, list string, out io.Writer) error {
	found, err := read(in)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	explained := parse(string(text))
	wrong := compare(found, explained, "go"+oldest)
	for _, line := range wrong {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s does not match the vulnerabilities found with %s", list, found.goVersion)
	}
	_, err = fmt.Fprintf(out, "%s: %d known vulnerabilities in what is called, all explained in %s\n", found.goVersion, len(found.called), list)
	return err
}

// scan is the result of govulncheck.
type scan struct {
	goVersion string
	summaries map[string]string  // of all vulnerabilities of the modules in use, by ID
	called    map[string]finding // by ID: the one with the shortest call path
}

// finding is a function with a vulnerability, and one call path to it. A vulnerability
// that is not called has no function.
type finding struct {
	ID    string `json:"osv"`
	Fixed string `json:"fixed_version"`
	Trace []struct {
		Module, Version, Package, Receiver, Function string
	} `json:"trace"`
}

// read reads the messages of govulncheck, and keeps the findings that the code calls.
func read(in io.Reader) (scan, error) {
	s := scan{summaries: map[string]string{}, called: map[string]finding{}}
	for decoder := json.NewDecoder(in); ; {
		var message struct {
			Config *struct {
				GoVersion string `json:"go_version"`
			}
			OSV     *struct{ ID, Summary string }
			Finding *finding
		}
		if err := decoder.Decode(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return s, fmt.Errorf("reading what govulncheck found: %w", err)
		}
		switch f := message.Finding; {
		case message.Config != nil:
			s.goVersion = message.Config.GoVersion
		case message.OSV != nil:
			s.summaries[message.OSV.ID] = message.OSV.Summary
		case f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "":
			if other, ok := s.called[f.ID]; !ok || len(f.Trace) < len(other.Trace) {
				s.called[f.ID] = *f
			}
		}
	}
	// Every database has entries for the standard library.
	if len(s.summaries) == 0 {
		return s, errors.New("govulncheck has read no database")
	}
	return s, nil
}

func (f finding) String() string {
	var way []string
	for _, frame := range slices.Backward(f.Trace) {
		name := frame.Package
		if frame.Receiver != "" {
			name += "." + frame.Receiver
		}
		way = append(way, name+"."+frame.Function)
	}
	at := f.Trace[0]
	fixed := "not fixed"
	if f.Fixed != "" {
		fixed = "fixed in " + f.Fixed
	}
	return fmt.Sprintf("%s %s, %s; called by %s", at.Module, at.Version, fixed, strings.Join(way, " > "))
}

// row is the beginning of a row of the table: the vulnerability, and the version that
// fixes it.
var row = regexp.MustCompile(`(?m)^\| (GO-\d+-\d+) \| ([^|]*) \|`)

// parse returns the explained vulnerabilities, and the version that fixes each: of Go, as
// in go1.26.9, or of a module.
func parse(text string) map[string]string {
	explained := map[string]string{}
	for _, match := range row.FindAllStringSubmatch(text, -1) {
		explained[match[1]] = match[2]
	}
	return explained
}

// compare returns what is missing in the list, and what is superfluous.
func compare(found scan, explained map[string]string, oldest string) []string {
	var wrong []string
	for _, id := range slices.Sorted(maps.Keys(found.called)) {
		if _, ok := explained[id]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s is not explained: %s\n\t%s", id, found.summaries[id], found.called[id]))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(explained)) {
		// With a newer Go, vulnerabilities that it has fixed are not found.
		fixed := explained[id]
		expected := version.IsValid(fixed) && version.Compare(oldest, fixed) < 0 && version.Compare(found.goVersion, fixed) >= 0
		if _, ok := found.called[id]; !ok && !expected {
			wrong = append(wrong, id+" is explained, but no longer found")
		}
	}
	return wrong
}
