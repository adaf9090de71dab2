package main

import (
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// The program goes through all its steps.
func TestSteps(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	args := []string{"-registry", harness.Binary(t), "-repositories", "2", "-manifests", "330", "-orphans", "10", "-folder", t.TempDir()}
	if err := run(&table, args); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"nothing is known", "all is known", "`referrers verify`", "`garbage-collect` "} {
		if !strings.Contains(table.String(), step) {
			t.Errorf("no %q in\n%s", step, &table)
		}
	}
}
