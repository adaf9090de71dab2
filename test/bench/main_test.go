package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// With -url, the program measures a registry by nothing but HTTP.
func TestMeasure(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{})
	var table strings.Builder
	if err := run(&table, []string{"-url", r.URL, "-referrers", "20", "-turns", "2"}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"push of a manifest with a subject", "listing of 20, pages: 1", "listing of 20, pages: 10"} {
		expected := regexp.MustCompile(`(?m)^\| ` + row + ` \| [1-9]\d* \| [1-9]\d* µs \| \d+ µs \|$`)
		if !expected.MatchString(table.String()) {
			t.Errorf("no row %q in\n%s", row, &table)
		}
	}
}

// A registry without the referrers API is not measured, and the error says why.
func TestMeasureNeedsReferrersAPI(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{Binary: harness.StockBinary(t), Config: "extensions: null"})
	var table strings.Builder
	err := run(&table, []string{"-url", r.URL, "-referrers", "1"})
	if err == nil || !strings.Contains(err.Error(), "/referrers/") || !strings.Contains(err.Error(), "404") {
		t.Errorf("measuring a registry without the referrers API: %v", err)
	}
}
