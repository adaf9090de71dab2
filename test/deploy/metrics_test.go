//go:build e2e

package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/pinned"
)

// leftOut are metrics of the registry that neither the rules nor the dashboard use, and why.
var leftOut = map[string]string{
	"registry_proxy_requests_total": "it is the sum of hits and misses",
}

// foreign are metrics that come from Prometheus itself.
var foreign = []string{"up"}

// rules are the groups of a file of rules.
type rules struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Annotations         map[string]string
		}
	}
}

func readRules(t *testing.T, file string) (r rules) {
	t.Helper()
	content, err := os.ReadFile(path("deploy", "prometheus", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// dashboard is what the tests read of Grafana's dashboard.
type dashboard struct {
	UID        string
	Templating struct {
		List []struct {
			Name  string
			Query json.RawMessage
		}
	}
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr, LegendFormat string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	content, err := os.ReadFile(path("deploy", "grafana", "registry.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// promtool runs promtool in deploy/prometheus.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pinned.Promtool(t), args...)
	cmd.Dir = path("deploy", "prometheus")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// The rules are rules, and do what their tests say.
func TestRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "recording.yml", "alerts.yml")
	promtool(t, "test", "rules", "tests.yml")
}

// Each alert has a test in which it fires and one in which it does not, and a row in the
// documents.
func TestAlertsAreTested(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(path("deploy", "prometheus", "tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(content, &tests); err != nil {
		t.Fatal(err)
	}
	fires := map[string]map[bool]bool{}
	for _, test := range tests.Tests {
		for _, alert := range test.Alerts {
			if fires[alert.Name] == nil {
				fires[alert.Name] = map[bool]bool{}
			}
			fires[alert.Name][len(alert.Expected) > 0] = true
		}
	}
	var alerts, documented []string
	for _, group := range readRules(t, "alerts.yml").Groups {
		for _, rule := range group.Rules {
			alerts = append(alerts, rule.Alert)
			if !fires[rule.Alert][true] || !fires[rule.Alert][false] {
				t.Errorf("tests.yml does not show when %s fires and when it does not", rule.Alert)
			}
		}
	}
	for _, row := range documents.Read(t, "docs/metrics.md").Rows("What to alert on") {
		documented = append(documented, row[0])
	}
	if !slices.Equal(alerts, documented) {
		t.Errorf("the alerts are %q, documented are %q", alerts, documented)
	}
}

var (
	quoted     = regexp.MustCompile(`"[^"]*"`)
	aggregated = regexp.MustCompile(`\b(by|without|on|ignoring) *\([^)]*\)`)
	word       = regexp.MustCompile(`[a-zA-Z_:$][\w:]*`)
	suffix     = regexp.MustCompile(`_(bucket|sum|count)$`)
	braces     = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
)

// used are the metrics in an expression.
func used(expr string) (names []string) {
	text := aggregated.ReplaceAllString(braces.ReplaceAllString(quoted.ReplaceAllString(expr, ""), ""), "")
	for _, at := range word.FindAllStringIndex(text, -1) {
		name := text[at[0]:at[1]]
		if strings.Contains(name, "_") && !strings.HasPrefix(strings.TrimSpace(text[at[1]:]), "(") || slices.Contains(foreign, name) {
			names = append(names, name)
		}
	}
	return names
}

// Every metric that the rules and the dashboard name is served, and every metric of the
// registry is in one of them.
func TestMetricsAreUsed(t *testing.T) {
	t.Parallel()
	expressions := map[string]string{} // by where they are
	known := served(t)
	for _, file := range []string{"recording.yml", "alerts.yml"} {
		for _, group := range readRules(t, file).Groups {
			for _, rule := range group.Rules {
				expressions[file+": "+rule.Record+rule.Alert] = rule.Expr
				known[rule.Record] = true
			}
		}
	}
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			expressions["the panel "+panel.Title+": "+target.LegendFormat] = target.Expr
		}
	}
	named := map[string]bool{}
	for where, expr := range expressions {
		names := used(expr)
		if len(names) == 0 {
			t.Errorf("%s uses no metric: %s", where, expr)
		}
		for _, name := range names {
			plain := suffix.ReplaceAllString(name, "")
			if !known[name] && !known[plain] && !slices.Contains(foreign, name) {
				t.Errorf("%s uses %s, which a registry does not serve", where, name)
			}
			named[name], named[plain] = true, true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if strings.HasPrefix(name, "registry_") && named[name] == (leftOut[name] != "") {
			t.Errorf("%s must be used by the dashboard or by a rule, or be in the list of what is left out, and not both", name)
		}
	}
}

// served are the metrics of a registry that has had requests of all kinds.
func served(t *testing.T) map[string]bool {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RateLimit-Remaining", "99;w=21600")
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(upstream.Close)
	debug := harness.FreeAddr(t)
	registry := harness.Start(t, harness.Options{Config: harness.Configf(
		"{http: {debug: {addr: '%s', prometheus: {enabled: true}}}, extensions: {mirror: {upstreams: {upstream.example: {url: '%s'}}}}}", debug, upstream.URL)})
	client := registry.Client()
	image := client.PushImage("app", "v1", "a layer")
	client.Referrers(harness.OCI, "app", image.Digest)
	client.Get("/v2/upstream.example/app/manifests/v1").Expect(http.StatusNotFound)
	names := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\w+) \w+$`).FindAllStringSubmatch(harness.AwaitHTTP(t, "http://"+debug+"/metrics"), -1) {
		names[match[1]] = true
	}
	return names
}

// The dashboard has what it promises, its panels do not cover each other, and each of them
// is for the chosen registry.
func TestDashboard(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	cells := map[[2]int]string{}
	ids := map[int]bool{}
	var rows, queries []string
	for _, panel := range d.Panels {
		if ids[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		ids[panel.ID] = true
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
					t.Errorf("%q covers %q, or is too wide", panel.Title, other)
				}
				cells[[2]int{x, y}] = panel.Title
			}
		}
		if panel.Type == "row" {
			rows = append(rows, panel.Title)
		} else if len(panel.Targets) == 0 {
			t.Errorf("%q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			if !strings.Contains(target.Expr, `job="$job"`) {
				t.Errorf("%q is not for the chosen registry: %s", panel.Title, target.Expr)
			}
			queries = append(queries, target.Expr)
		}
	}
	want := []string{"Requests", "Listings of referrers", "Index", "Storage and cache", "Garbage collection while serving", "Mirrors and pull-through cache", "Processes"}
	if !slices.Equal(rows, want) {
		t.Errorf("the rows are %q", rows)
	}
	expectQueries(t, queries)
}

// expectQueries expects Prometheus to understand the queries of a dashboard.
func expectQueries(t *testing.T, queries []string) {
	t.Helper()
	type rule struct{ Record, Expr string }
	type group struct {
		Name  string
		Rules []rule
	}
	all := group{Name: "dashboard"}
	for i, query := range queries {
		query = strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m").Replace(query)
		all.Rules = append(all.Rules, rule{fmt.Sprint("query_", i), query})
	}
	content, err := yaml.Marshal(map[string][]group{"groups": {all}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
