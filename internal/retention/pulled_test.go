package retention

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestManifestsThatStay(t *testing.T) {
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	long := ago(99)
	for _, test := range []struct {
		pulled string
		use    Use
		want   string // the reason if it stays
	}{
		{"30d", Use{}, "no registry records pulls"},
		{"30d", Use{Since: ago(32), Pulled: long, Stored: long}, "pulls have been recorded only since 2026-01-28T12:00:00Z"},
		{"30d", Use{Since: ago(34)}, ""},
		{"30d", Use{Since: long, Pulled: ago(30)}, "was pulled at 2026-01-30T12:00:00Z"},
		{"30d", Use{Since: long, Pulled: ago(32)}, "was pulled at 2026-01-28T12:00:00Z"}, // the last pull may be later
		{"30d", Use{Since: long, Pulled: ago(33)}, ""},
		{"30d", Use{Since: long, Stored: ago(32)}, "was pushed at 2026-01-28T12:00:00Z"},
		{"30d", Use{Since: long, Stored: ago(33)}, ""},
		{"30d", Use{Since: long, Stored: now.AddDate(0, 0, 1)}, "was pushed at 2026-03-02T12:00:00Z"},
		{"1h", Use{Since: long, Pulled: now.Add(-65 * time.Minute)}, "was pulled at 2026-03-01T10:55:00Z"},
		{"15250w", Use{Since: long}, "pulls have been recorded only since 2025-11-22T12:00:00Z"},
		{"15250w", Use{Since: time.Unix(0, 0)}, "pulls have been recorded only since 1970-01-01T00:00:00Z"},
	} {
		rule := rulesOf(t, fmt.Sprintf("rules: [{repositories: [app], pulled: %s}]", test.pulled)).For("app")
		verdict := rule.InUse(test.use, now)
		if verdict.Stays != (test.want != "") || verdict.Stays && verdict.Reason != test.want || verdict.Reason == "" {
			t.Errorf("%s, %+v: %+v, want %q", test.pulled, test.use, verdict, test.want)
		}
	}
	if verdict := (*Rule)(nil).InUse(Use{}, now); verdict.Stays {
		t.Errorf("without a rule: %+v", verdict)
	}
}

// A tag stays with its manifest, or by any other key.
func TestTagsOfWhatWasPulled(t *testing.T) {
	recorded := Use{Since: now.AddDate(0, 0, -99)}
	used := recorded
	used.Pulled = now.AddDate(0, 0, -1)
	tags := []Tag{
		{Name: "v1", Set: now.AddDate(0, 0, -50), Use: recorded},
		{Name: "pr-1", Set: now.AddDate(0, 0, -60), Use: used},
		{Name: "pr-2", Set: now.AddDate(0, 0, -70), Use: recorded},
		{Name: "sha256-aa.sig", Set: now, Named: true, Attached: true, Use: recorded},
	}
	for rule, want := range map[string]string{
		"pulled: 30d":                                              "pr-1 sha256-aa.sig~",
		`keep: {matching: ["v*"]}, pulled: 30d`:                    "v1 pr-1 sha256-aa.sig~",
		`keep: {newest: 1, younger: 65d}, pulled: 30d`:             "v1 pr-1 sha256-aa.sig~",
		`keep: {matching: ["pr-2"]}, pulled: 1h`:                   "pr-2 sha256-aa.sig~",
		`keep: {matching: ["pr-2"], younger: 65d}`:                 "v1 pr-1 pr-2 sha256-aa.sig~",
		`referrers: {newest: 1}`:                                   "v1 pr-1 pr-2 sha256-aa.sig",
		`keep: {matching: ["sha256-*"]}, pulled: 30d`:              "pr-1 sha256-aa.sig",
		`keep: {newest: 2}, pulled: 30d, referrers: {newest: 100}`: "v1 pr-1 sha256-aa.sig~",
	} {
		if got := survivors(rulesOf(t, "rules: [{repositories: [app], "+rule+"}]").For("app"), tags); got != want {
			t.Errorf("%s: %q stay, want %q", rule, got, want)
		}
	}
}

func TestWrongTimesOfPullsAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"pulled: 3":          "extensions.retention.rules[0].pulled: must be text",
		"pulled: soon":       "extensions.retention.rules[0].pulled: must be a duration",
		"pulled: 59m":        "extensions.retention.rules[0].pulled: must be at least 1h0m0s, not 59m",
		"pulled: -3d":        "extensions.retention.rules[0].pulled: must be more than 0",
		"keep: {pulled: 1d}": "extensions.retention.rules[0].keep.pulled: unknown key",
	} {
		if _, err := read(t, "rules: [{repositories: [a], "+text+"}]"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
