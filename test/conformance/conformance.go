// Package conformance runs the conformance suite of the OCI distribution-spec against a
// registry, and compares what fails and what is skipped with what is known. It is for
// tests only.
package conformance

import (
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/pinned"
)

// Version is what the suite calls a version of the specification.
type Version string

// The versions: the latest that was released, and the one to come.
const (
	Released Version = "1.1"
	Next     Version = "dev"
)

// Versions returns both.
func Versions() []Version { return []Version{Released, Next} }

// suitePrefix begins the name of every case.
const suitePrefix = "OCI Conformance Test/"

// caseCount is the minimum number of cases: with fewer, the suite did not run to its
// end.
const caseCount = 600

// Outcome is the result of all cases with one name. Names are not unique: the suite
// repeats some for each manifest or blob that it pushes.
type Outcome struct {
	Run, Skipped, Failed int
	// Reasons say why cases were skipped or failed.
	Reasons []string
}

// Outcomes are those of a run, by name.
type Outcomes map[string]Outcome

// Total adds them all.
func (o Outcomes) Total() (total Outcome) {
	for _, one := range o {
		total.Run += one.Run
		total.Skipped += one.Skipped
		total.Failed += one.Failed
	}
	return total
}

// Run runs the suite against the registry at addr.
func Run(t *testing.T, addr string, version Version) Outcomes {
	t.Helper()
	results := t.TempDir()
	suite := exec.CommandContext(t.Context(), pinned.Conformance(t))
	suite.Dir = results
	suite.Env = append(os.Environ(),
		"OCI_VERSION="+string(version), "OCI_REGISTRY="+addr, "OCI_TLS=disabled", "OCI_RESULTS_DIR="+results, "OCI_LOG=error")
	// The suite's exit status is 1 when any case fails: the report says which.
	output, err := suite.CombinedOutput()
	report, readErr := os.ReadFile(filepath.Join(results, "junit.xml"))
	if readErr != nil {
		t.Fatalf("the suite wrote no report: %v, %v\n%s", err, readErr, output)
	}
	return parse(t, report)
}

func parse(t *testing.T, report []byte) Outcomes {
	t.Helper()
	var suites struct {
		Cases []struct {
			Name   string `xml:"name,attr"`
			Status string `xml:"status,attr"`
			Reason string `xml:"system-out"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(report, &suites); err != nil {
		t.Fatalf("reading the report of the suite: %v", err)
	}
	if len(suites.Cases) < caseCount {
		t.Fatalf("the suite ran %d cases, expected at least %d", len(suites.Cases), caseCount)
	}
	outcomes := Outcomes{}
	for _, c := range suites.Cases {
		name := strings.TrimPrefix(c.Name, suitePrefix)
		o := outcomes[name]
		o.Run++
		switch c.Status {
		case "passed":
		case "skipped":
			o.Skipped++
			o.Reasons = append(o.Reasons, strings.ReplaceAll(c.Reason, "\n", "; "))
		default:
			o.Failed++
			o.Reasons = append(o.Reasons, strings.ReplaceAll(c.Reason, "\n", "; "))
		}
		outcomes[name] = o
	}
	return outcomes
}

// Expect expects exactly the cases that are known to be skipped or to fail.
func (o Outcomes) Expect(t *testing.T, version Version) {
	t.Helper()
	all := known(version)
	for _, name := range slices.Sorted(maps.Keys(o)) {
		got, want := o[name], all[name]
		if got.Skipped != want.Skipped || got.Failed != want.Failed {
			t.Errorf("%s: of %d cases, %d fail and %d are skipped, want %d and %d:\n\t%s", name, got.Run,
				got.Failed, got.Skipped, want.Failed, want.Skipped, strings.Join(got.Reasons, "\n\t"))
		}
		delete(all, name)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Errorf("the suite has no case %s", name)
	}
}

// Row is the run as a line of the table in docs/conformance.md, below a name.
func (o Outcomes) Row(name string) string {
	total := o.Total()
	return fmt.Sprintf("| %s | %d | %d | %d | %d |", name, total.Run, total.Run-total.Skipped-total.Failed, total.Skipped, total.Failed)
}
