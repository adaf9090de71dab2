package conformance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/conformance"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/replicas"
)

// rows are the lines of the table in docs/conformance.md, without their numbers.
var rows = map[conformance.Version]string{
	conformance.Released: "[`1.1`](#version-11)",
	conformance.Next:     "[`dev`](#version-12-to-come)",
}

// TestConformance runs the suite with and without a descriptor cache.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, version := range conformance.Versions() {
		for name, config := range map[string]string{"no cache": "", "cache": "storage: {cache: {blobdescriptor: inmemory}}"} {
			t.Run(string(version)+" "+name, func(t *testing.T) {
				t.Parallel()
				outcomes := conformance.Run(t, harness.Start(t, harness.Options{Config: config}).Addr, version)
				outcomes.Expect(t, version)
				expectDocumented(t, outcomes.Row(rows[version]))
			})
		}
	}
}

// TestReplicas runs the suite against two replicas on one storage, which take turns.
func TestReplicas(t *testing.T) {
	t.Parallel()
	for _, version := range conformance.Versions() {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			conformance.Run(t, replicas.Balance(t, replicas.Start(t, 2, harness.Options{})), version).Expect(t, version)
		})
	}
}

// TestStock checks what docs/conformance.md says about distribution's own binary.
func TestStock(t *testing.T) {
	t.Parallel()
	for _, version := range conformance.Versions() {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			outcomes := conformance.Run(t, harness.Start(t, harness.Options{Binary: harness.StockBinary(t)}).Addr, version)
			expectDocumented(t, outcomes.Row("distribution v3.1.2, `"+string(version)+"`"))
		})
	}
}

// expectDocumented expects docs/conformance.md to contain a line.
func expectDocumented(t *testing.T, line string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "\n"+line+"\n") {
		t.Errorf("docs/conformance.md does not say %s", line)
	}
}
