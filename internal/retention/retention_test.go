package retention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/extensions"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// daysAgo is a tag that was set so many days ago.
func daysAgo(name string, days int) Tag { return Tag{Name: name, Set: now.AddDate(0, 0, -days)} }

// read reads rules from YAML.
func read(t *testing.T, text string) (*Rules, error) {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	section, err := extensions.NewSection("extensions.retention", value)
	if err != nil {
		t.Fatal(err)
	}
	return Read(section)
}

func rulesOf(t *testing.T, text string) *Rules {
	t.Helper()
	rules, err := read(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// survivors are the names of the tags that stay; those that follow a manifest end with ~.
func survivors(rule *Rule, tags []Tag) string {
	var names []string
	for i, verdict := range rule.Tags(tags, now) {
		switch {
		case verdict.Follows:
			names = append(names, tags[i].Name+"~")
		case verdict.Stays:
			names = append(names, tags[i].Name)
		}
	}
	return strings.Join(names, " ")
}

var (
	releases = []Tag{daysAgo("latest", 0), daysAgo("v1", 40), daysAgo("v2", 30), daysAgo("v3", 1), daysAgo("pr-7", 2)}
	signed   = []Tag{daysAgo("v1", 3), {Name: "sha256-aa.sig", Set: now, Named: true, Attached: true}, {Name: "gone", Set: now, Broken: true}}
	orphaned = []Tag{daysAgo("v1", 3), {Name: "sha256-aa.sig", Set: now, Named: true}, daysAgo("v2", 1)}
)

func TestTagsThatStay(t *testing.T) {
	for _, test := range []struct {
		keep string
		tags []Tag
		want string
	}{
		{"newest: 1", releases, "latest"},
		{"newest: 3", releases, "latest v3 pr-7"},
		{"newest: 9", releases, "latest v1 v2 v3 pr-7"},
		{`matching: ["v*"]`, releases, "v1 v2 v3"},
		{`matching: ["v*", "latest"]`, releases, "latest v1 v2 v3"},
		{`matching: ["v"]`, releases, ""},
		{"younger: 30d", releases, "latest v3 pr-7"},
		{"younger: 5w", releases, "latest v2 v3 pr-7"},
		{"younger: 25h", releases, "latest v3"},
		{`newest: 1, matching: ["v1"], younger: 2d`, releases, "latest v1 v3"},
		{"newest: 1", []Tag{daysAgo("a", 1), daysAgo("b", 1)}, "b"},
		{"newest: 1", signed, "v1 sha256-aa.sig~"},
		{"younger: 1h", signed, "sha256-aa.sig~ gone"},
		{"newest: 1", orphaned, "sha256-aa.sig v2"},
		{"younger: 1h", orphaned, "sha256-aa.sig"},
		{`matching: ["sha256-*"]`, signed, "sha256-aa.sig"},
		{"newest: 1", nil, ""},
	} {
		rules := rulesOf(t, fmt.Sprintf("rules: [{repositories: [app], keep: {%s}}]", test.keep))
		if got := survivors(rules.For("app"), test.tags); got != test.want {
			t.Errorf("%s: %q stay, want %q", test.keep, got, test.want)
		}
	}
	for _, text := range []string{"{}", "rules: [{repositories: [app]}]", "rules: [{repositories: [app], keep: }]", "rules: [{repositories: [other], keep: {newest: 1}}]"} {
		if got := survivors(rulesOf(t, text).For("app"), releases); got != "latest v1 v2 v3 pr-7" {
			t.Errorf("%s: %q stay", text, got)
		}
	}
}

// The first rule that matches counts.
func TestRulesAreForRepositories(t *testing.T) {
	rules := rulesOf(t, `
rules:
  - {repositories: ["team/golden"]}
  - {repositories: ["team/*", "apps/**"], keep: {newest: 1}}
  - {repositories: ["**/cache"], keep: {newest: 2}}
  - {repositories: ["*"], keep: {newest: 3}}
  - {repositories: ["x**z"], keep: {newest: 4}}
`)
	for name, want := range map[string]string{
		"team/golden": "0", "team/a": "1", "team/a/b": "", "apps/a": "1", "apps/a/b/cache": "1", "apps": "3", "appsx": "3",
		"cache": "3", "a/cache": "2", "a/b/cache": "2", "a/b": "", "x/y/z": "4", "x.z/a": "",
	} {
		got := ""
		if rule := rules.For(name); rule != nil {
			got = strings.TrimSuffix(strings.TrimPrefix(rule.Key, "extensions.retention.rules["), "]")
		}
		if got != want {
			t.Errorf("%s: rule %q, want %q", name, got, want)
		}
	}
	if (*Rules)(nil).For("a") != nil || (*Rules)(nil).Immutable("a") != nil || !(*Rules)(nil).Empty() {
		t.Error("there are rules without a configuration")
	}
}

func TestImmutableTags(t *testing.T) {
	rules := rulesOf(t, `immutable: [{repositories: ["**"], tags: ["v*"]}, {repositories: ["team/*"], tags: ["rc*", "latest"]}]`)
	if !rules.Empty() {
		t.Error("immutable tags are no rules about what stays")
	}
	for _, test := range []struct {
		repository, tag string
		want            bool
	}{
		{"app", "v1", true}, {"a/b/c", "v1.2", true}, {"app", "latest", false}, {"team/a", "latest", true}, {"team/a", "v1", true}, {"team/a", "dev", false},
	} {
		if got := rules.Immutable(test.repository)(test.tag); got != test.want {
			t.Errorf("%s:%s is immutable: %v", test.repository, test.tag, got)
		}
	}
	if rulesOf(t, `immutable: [{repositories: [a], tags: ["*"]}]`).Immutable("b") != nil {
		t.Error("a repository that no rule is for has immutable tags")
	}
}

func TestReferrersThatStay(t *testing.T) {
	var referrers []Referrer
	for i, artifactType := range []string{"sbom", "sig", "sbom", "sig", "sbom"} {
		referrers = append(referrers, Referrer{Digest: digest.FromString(fmt.Sprint(i)), ArtifactType: artifactType, Created: now.Add(-time.Duration(i) * time.Hour)})
	}
	same := []Referrer{{Digest: "sha256:b", Created: now}, {Digest: "sha256:a", Created: now}}
	for _, test := range []struct {
		newest int
		list   []Referrer
		want   []Referrer
	}{
		{1, referrers, []Referrer{referrers[4], referrers[3], referrers[2]}},
		{2, referrers, []Referrer{referrers[4]}},
		{3, referrers, nil},
		{1, same, same[1:]},
	} {
		rule := rulesOf(t, fmt.Sprintf("rules: [{repositories: [app], referrers: {newest: %d}}]", test.newest)).For("app")
		if got := rule.Beyond(test.list); !slices.Equal(got, test.want) {
			t.Errorf("newest %d: beyond are %v, want %v", test.newest, got, test.want)
		}
	}
	if got := rulesOf(t, "rules: [{repositories: [app], keep: {newest: 1}}]").For("app").Beyond(referrers); got != nil {
		t.Errorf("without a rule, beyond are %v", got)
	}
}

// What one member of keep keeps stays whatever the others say, and nothing else does.
func TestKeepersAddUp(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 3))
		var tags []Tag
		for i := range random.IntN(20) {
			tag := daysAgo(fmt.Sprint([]string{"v", "rc", "pr-"}[random.IntN(3)], i), random.IntN(20))
			tag.Broken = random.IntN(6) == 0
			tags = append(tags, tag)
		}
		members := []string{fmt.Sprint("newest: ", 1+random.IntN(8)), fmt.Sprintf("younger: %dd", 1+random.IntN(15)), `matching: ["v*", "*3"]`}
		kept := map[int]bool{}
		for _, member := range members {
			for i, verdict := range rulesOf(t, "rules: [{repositories: [a], keep: {"+member+"}}]").For("a").Tags(tags, now) {
				kept[i] = kept[i] || verdict.Stays
			}
		}
		all := rulesOf(t, "rules: [{repositories: [a], keep: {"+strings.Join(members, ", ")+"}}]").For("a").Tags(tags, now)
		for i, verdict := range all {
			if verdict.Stays != kept[i] || verdict.Reason == "" {
				t.Errorf("seed %d: %+v of %v: %+v, want %v", seed, tags[i], members, verdict, kept[i])
			}
		}
	}
}

func TestSubjectsOfTags(t *testing.T) {
	d := digest.FromString("image")
	hex := d.Encoded()
	for tag, want := range map[string]digest.Digest{
		"sha256-" + hex: d, "sha256-" + hex + ".sig": d, "sha256-" + hex + ".att": d, "v1": "", "sha256-" + hex[1:]: "", "x-sha256-" + hex: "", "sha256-" + hex + "-v1": "",
		"sha512-" + hex: "shortened", "sha512-" + hex + ".sig": "shortened",
	} {
		if want == "shortened" {
			if got, ok := Subject(tag); !ok || got != "" {
				t.Errorf("%s: %q, %v", tag, got, ok)
			}
			continue
		}
		if got, ok := Subject(tag); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s, %v", tag, got, ok)
		}
	}
}

func TestWrongRulesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"rule: []":                               "extensions.retention.rule: unknown key",
		"rules: 1":                               "extensions.retention.rules: must be a list",
		"rules: [{}]":                            "extensions.retention.rules[0].repositories: must name at least one",
		"rules: [app]":                           "extensions.retention.rules[0]: must be a mapping",
		"immutable: [{}]":                        "extensions.retention.immutable[0].tags: must name at least one",
		"rules: [{repositories: [a], kept: {}}]": "extensions.retention.rules[0].kept: unknown key",
		"rules: [{repositories: [a], keep: {newst: 1}}]":          "extensions.retention.rules[0].keep.newst: unknown key",
		"rules: [{repositories: [a], keep: {}}]":                  "extensions.retention.rules[0].keep: must have newest, matching or younger",
		"rules: [{repositories: [a], keep: {newest: 0}}]":         "extensions.retention.rules[0].keep.newest: must be at least 1, not 0",
		"rules: [{repositories: [a], keep: {newest: ten}}]":       "extensions.retention.rules[0].keep.newest: must be a whole number",
		"rules: [{repositories: [a], keep: {younger: 3}}]":        "extensions.retention.rules[0].keep.younger: must be text",
		"rules: [{repositories: [a], keep: {younger: 3x}}]":       "extensions.retention.rules[0].keep.younger: must be a duration",
		"rules: [{repositories: [a], keep: {younger: -3d}}]":      "extensions.retention.rules[0].keep.younger: must be more than 0",
		"rules: [{repositories: [a], keep: {matching: [a/b]}}]":   `extensions.retention.rules[0].keep.matching[0]: "a/b" matches no name`,
		"rules: [{repositories: [a], keep: {matching: [v, 3]}}]":  "extensions.retention.rules[0].keep.matching[1]: must be text",
		"rules: [{repositories: [a], referrers: {}}]":             "extensions.retention.rules[0].referrers: must have newest",
		"rules: [{repositories: [a, Team]}]":                      `extensions.retention.rules[0].repositories[1]: "Team" matches no name`,
		"rules: [{repositories: [a]}, {repositories: ['a b']}]":   "extensions.retention.rules[1].repositories[0]:",
		"rules: [{repositories: [team/]}]":                        `extensions.retention.rules[0].repositories[0]: "team/" matches no name`,
		"rules: [{repositories: [/]}]":                            `extensions.retention.rules[0].repositories[0]: "/" matches no name`,
		"rules: [{repositories: [a//b]}]":                         `extensions.retention.rules[0].repositories[0]: "a//b" matches no name`,
		"rules: [{repositories: ['**/']}]":                        `extensions.retention.rules[0].repositories[0]: "**/" matches no name`,
		"rules: [{repositories: ['*-']}]":                         `extensions.retention.rules[0].repositories[0]: "*-" matches no name`,
		"immutable: [{repositories: [a, /a], tags: [v1]}]":        `extensions.retention.immutable[0].repositories[1]: "/a" matches no name`,
		"immutable: [{repositories: [a], tags: [-v]}]":            `extensions.retention.immutable[0].tags[0]: "-v" matches no name`,
		"rules: [{repositories: [a], keep: {newest: 2.999}}]":     "extensions.retention.rules[0].keep.newest: must be a whole number, not 2.999",
		"immutable: [{repositories: [a], tags: [v1, 'a:b']}]":     `extensions.retention.immutable[0].tags[1]: "a:b" matches no name`,
		"rules: [{repositories: [a], keep: {younger: 9999999w}}]": "extensions.retention.rules[0].keep.younger: must be a duration",
	} {
		if _, err := read(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestAges(t *testing.T) {
	for text, want := range map[string]time.Duration{"36h": 36 * time.Hour, "1d": 24 * time.Hour, "2w": 14 * 24 * time.Hour, "0d": 0, "1h30m": 90 * time.Minute} {
		if got, err := ParseAge(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "1", "1.5d", "1y", "1d2", "1 d"} {
		if got, err := ParseAge(text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
	for d, want := range map[time.Duration]string{24 * time.Hour: "1d", 14 * 24 * time.Hour: "2w", 30 * 24 * time.Hour: "30d", 90 * time.Minute: "1h30m0s"} {
		if got := formatAge(d); got != want {
			t.Errorf("%s: %s", d, got)
		}
	}
}
