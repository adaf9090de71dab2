// Package conformance runs the conformance suite of the OCI distribution-spec
// against the registry, and compares what fails with known.txt.
package conformance_test

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/pinned"
)

// suitePrefix begins the name of every case.
const suitePrefix = "OCI Conformance Test/"

// caseCount is the minimum number of cases: with fewer, the suite did not run to its
// end.
const caseCount = 600

// outcome is the result of all cases with one name. Names are not unique: the suite
// repeats some for each manifest or blob that it pushes.
type outcome struct {
	run, failed int
	reasons     []string
}

// nonDistributable is the group of known.txt that passes with a configuration.
const nonDistributable = "Non-distributable layers"

// TestConformance expects exactly what known.txt lists to fail.
func TestConformance(t *testing.T) {
	t.Parallel()
	registry := harness.Start(t, harness.Options{})
	outcomes := runSuite(t, registry.Addr)
	compare(t, outcomes, knownGroups(t))
	run, failed := count(outcomes)
	expectDocumented(t, fmt.Sprintf("Of %d cases, **%d cases fail**", run, failed))
}

// TestStock checks what docs/conformance.md says about distribution's own binary.
func TestStock(t *testing.T) {
	t.Parallel()
	registry := harness.Start(t, harness.Options{Binary: harness.StockBinary(t)})
	run, failed := count(runSuite(t, registry.Addr))
	listed := 0
	for _, cases := range knownGroups(t) {
		for _, n := range cases {
			listed += n
		}
	}
	expectDocumented(t, fmt.Sprintf("it is %d of %d: the %d others", failed, run, failed-listed))
}

// TestURLsAllowed is TestConformance with the configuration that docs/conformance.md
// shows for non-distributable layers: all cases of that group pass.
func TestURLsAllowed(t *testing.T) {
	t.Parallel()
	config := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(page(t))
	if config == nil {
		t.Fatal("docs/conformance.md shows no configuration")
	}
	groups := knownGroups(t)
	delete(groups, nonDistributable)
	registry := harness.Start(t, harness.Options{Config: config[1]})
	compare(t, runSuite(t, registry.Addr), groups)
}

// compare expects exactly what the groups list to fail.
func compare(t *testing.T, outcomes map[string]outcome, groups map[string]map[string]int) {
	t.Helper()
	known := map[string]int{}
	for _, cases := range groups {
		maps.Copy(known, cases)
	}
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		o := outcomes[name]
		switch listed := known[name]; {
		case o.failed > listed:
			t.Errorf("%s: %d of %d fail, known.txt lists %d:\n\t%s", name, o.failed, o.run, listed, strings.Join(o.reasons, "\n\t"))
		case o.failed < listed:
			t.Errorf("%s: %d of %d fail, known.txt lists %d: remove the cases that pass", name, o.failed, o.run, listed)
		}
		delete(known, name)
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		t.Errorf("%s: in known.txt, but the suite has no such case", name)
	}
}

// count is how many cases have run, and how many have failed.
func count(outcomes map[string]outcome) (run, failed int) {
	for _, o := range outcomes {
		run += o.run
		failed += o.failed
	}
	return run, failed
}

// expectDocumented expects docs/conformance.md to contain a sentence.
func expectDocumented(t *testing.T, sentence string) {
	t.Helper()
	if !strings.Contains(page(t), sentence) {
		t.Errorf("docs/conformance.md does not say %q", sentence)
	}
}

// page is docs/conformance.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runSuite runs the suite against the registry at addr.
func runSuite(t *testing.T, addr string) map[string]outcome {
	t.Helper()
	results := t.TempDir()
	suite := exec.CommandContext(t.Context(), pinned.Conformance(t))
	suite.Dir = results
	suite.Env = append(os.Environ(),
		"OCI_VERSION=1.1", "OCI_REGISTRY="+addr, "OCI_TLS=disabled", "OCI_RESULTS_DIR="+results, "OCI_LOG=error")
	// The suite's exit status is 1 when any case fails: the report says which.
	output, err := suite.CombinedOutput()
	report, readErr := os.ReadFile(filepath.Join(results, "junit.xml"))
	if readErr != nil {
		t.Fatalf("the suite wrote no report: %v, %v\n%s", err, readErr, output)
	}
	return parseReport(t, report)
}

func parseReport(t *testing.T, report []byte) map[string]outcome {
	t.Helper()
	var suites struct {
		Cases []struct {
			Name   string `xml:"name,attr"`
			Status string `xml:"status,attr"`
			Errors string `xml:"system-out"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(report, &suites); err != nil {
		t.Fatalf("reading the report of the suite: %v", err)
	}
	if len(suites.Cases) < caseCount {
		t.Fatalf("the suite ran %d cases, expected at least %d", len(suites.Cases), caseCount)
	}
	outcomes := map[string]outcome{}
	for _, c := range suites.Cases {
		name := strings.TrimPrefix(c.Name, suitePrefix)
		o := outcomes[name]
		o.run++
		if c.Status != "passed" && c.Status != "skipped" {
			o.failed++
			o.reasons = append(o.reasons, strings.ReplaceAll(c.Errors, "\n", "; "))
		}
		outcomes[name] = o
	}
	return outcomes
}

// knownGroups reads known.txt: by group, how many cases of each name fail. Lines are
// a number and a name; those in brackets name the group, which is a section of
// docs/conformance.md, and # begins a comment.
func knownGroups(t *testing.T) map[string]map[string]int {
	t.Helper()
	file, err := os.Open("known.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	groups := map[string]map[string]int{}
	group := ""
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			group = strings.Trim(line, "[]")
			groups[group] = map[string]int{}
			continue
		}
		number, name, _ := strings.Cut(line, " ")
		count, err := strconv.Atoi(number)
		if err != nil || name == "" || group == "" {
			t.Fatalf("known.txt: %q is not a case of a group", line)
		}
		groups[group][name] = count
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return groups
}

// TestDocumented compares docs/conformance.md with the list: every group has a section
// there, which states how many of its cases fail.
func TestDocumented(t *testing.T) {
	t.Parallel()
	for group, cases := range knownGroups(t) {
		count := 0
		for _, n := range cases {
			count += n
		}
		expectDocumented(t, fmt.Sprintf("\n## %s (%d cases)\n", group, count))
	}
}
