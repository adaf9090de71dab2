package extensions_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/oras-distribution/registry/extensions"
)

func newSection(t *testing.T, value any) extensions.Section {
	t.Helper()
	section, err := extensions.NewSection("extensions.x", value)
	if err != nil {
		t.Fatal(err)
	}
	return section
}

// Every error names its key.
func TestSectionErrors(t *testing.T) {
	type keys struct {
		Flag   bool           `yaml:"flag"`
		Number int            `yaml:"number"`
		Large  int64          `yaml:"large"`
		Small  *int32         `yaml:"small"`
		Counts []uint         `yaml:"counts"`
		Text   string         `yaml:"text"`
		List   []string       `yaml:"list"`
		Map    map[string]any `yaml:"map"`
		Time   time.Duration  `yaml:"time"`
		Inner  struct {
			Flag bool `yaml:"flag"`
		} `yaml:"inner"`
	}
	for want, values := range map[string]map[string]any{
		"extensions.x.flag: must be true or false, not yes":             {"flag": "yes"},
		"extensions.x.flag: must be true or false, not a list":          {"flag": []any{true}},
		"extensions.x.number: must be a whole number, not many":         {"number": "many"},
		"extensions.x.large: must be a whole number, not true":          {"large": true},
		"extensions.x.number: must be a whole number, not 1.5":          {"number": 1.5},
		"extensions.x.large: must be a whole number, not 1e+30":         {"large": 1e30},
		"extensions.x.small: must be a whole number, not -2.999":        {"small": -2.999},
		"extensions.x.counts[1]: must be a whole number, not NaN":       {"counts": []any{1, math.NaN()}},
		"extensions.x.text: must be text, not 7":                        {"text": 7},
		"extensions.x.list: must be a list, not a mapping":              {"list": map[string]any{"a": 1}},
		"extensions.x.list: must be a list, not 7":                      {"list": 7},
		"extensions.x.map: must be a mapping, not 7":                    {"map": 7},
		"extensions.x.inner: must be a mapping, not 7":                  {"inner": 7},
		"extensions.x.inner.1: unknown key":                             {"inner": map[any]any{1: 2}},
		`extensions.x.time: must be a duration such as "10s", not 10`:   {"time": 10},
		`extensions.x.time: must be a duration such as "10s", not soon`: {"time": "soon"},
		`extensions.x.time: must be a duration such as "10s", not -1s`:  {"time": "-1s"},
		"extensions.x.other: unknown key":                               {"other": 1, "zebra": 2},
		"extensions.x.Flag: unknown key":                                {"Flag": true},
		"extensions.x.list[1]: must be text, not 7":                     {"list": []any{"a", 7}},
		"extensions.x.inner.flag: must be true or false, not maybe":     {"inner": map[string]any{"flag": "maybe"}},
	} {
		err := newSection(t, values).Decode(&keys{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %s", values, err, want)
		}
	}
}

// One error names all mistakes, and what is right is read.
func TestSectionErrorsAtOnce(t *testing.T) {
	keys := struct {
		Flag   bool     `yaml:"flag"`
		Number int      `yaml:"number"`
		Text   string   `yaml:"text"`
		List   []string `yaml:"list"`
		Inner  struct {
			Flag bool `yaml:"flag"`
		} `yaml:"inner"`
	}{Number: 1}
	err := newSection(t, map[string]any{
		"flag": "yes", "number": "many", "text": "right", "list": []any{1, "a", true}, "inner": map[string]any{"flag": 7}, "other": 1, "another": 2,
	}).Decode(&keys)
	want := `extensions.x.flag: must be true or false, not yes
extensions.x.number: must be a whole number, not many
extensions.x.list[0]: must be text, not 1
extensions.x.list[2]: must be text, not true
extensions.x.inner.flag: must be true or false, not 7
extensions.x.another: unknown key
extensions.x.other: unknown key`
	if err == nil || err.Error() != want || keys.Text != "right" || keys.Number != 1 {
		t.Errorf("%+v, %v, want\n%s", keys, err, want)
	}
}

func TestSectionDecodes(t *testing.T) {
	keys := struct {
		Number int           `yaml:"number"`
		Large  int64         `yaml:"large"`
		Share  float64       `yaml:"share"`
		Text   string        `yaml:"text"`
		Time   time.Duration `yaml:"time"`
		Given  time.Duration `yaml:"given"`
	}{Number: 1, Text: "default"}
	err := newSection(t, map[any]any{"number": 7, "large": 1e3, "share": 0.5, "time": "1m", "given": time.Second, "text": nil}).Decode(&keys)
	if err != nil || keys.Number != 7 || keys.Large != 1000 || keys.Share != 0.5 || keys.Text != "default" || keys.Time != time.Minute || keys.Given != time.Second {
		t.Errorf("%+v, %v", keys, err)
	}
	if err := newSection(t, nil).Decode(&struct{}{}); err != nil {
		t.Error(err)
	}
}

// What is taken out is no longer there.
func TestSectionTake(t *testing.T) {
	section := newSection(t, map[string]any{"inner": map[string]any{"key": "value"}, "list": []any{1}, "enabled": false})
	if enabled, err := section.Enabled(true); enabled || err != nil {
		t.Errorf("enabled: %v, %v", enabled, err)
	}
	if enabled, err := section.Enabled(true); !enabled || err != nil { // it has been taken
		t.Errorf("enabled: %v, %v", enabled, err)
	}
	inner, err := section.Take("inner")
	if err != nil {
		t.Fatal(err)
	}
	if err := inner.Decode(&struct{}{}); err == nil || err.Error() != "extensions.x.inner.key: unknown key" {
		t.Error(err)
	}
	if _, err := section.Take("list"); err == nil || !strings.HasPrefix(err.Error(), "extensions.x.list: must be a mapping") {
		t.Error(err)
	}
	if absent, err := section.Take("absent"); err != nil || absent.Decode(&struct{}{}) != nil {
		t.Error(err)
	}
	if err := section.Decode(&struct{}{}); err != nil {
		t.Errorf("left: %v", err)
	}
}

func TestSectionEnabled(t *testing.T) {
	for _, test := range []struct {
		value any
		want  bool
		wrong bool
	}{{true, true, false}, {false, false, false}, {nil, true, false}, {"true", false, true}, {1, false, true}} {
		got, err := newSection(t, map[string]any{"enabled": test.value}).Enabled(true)
		if got != test.want || (err != nil) != test.wrong || err != nil && !strings.HasPrefix(err.Error(), "extensions.x.enabled: ") {
			t.Errorf("%v: %v, %v", test.value, got, err)
		}
	}
}
