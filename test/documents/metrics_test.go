package documents_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const metricsPage = "docs/metrics.md"

// metric is what a scrape and the page say of a metric.
type metric struct{ kind, labels string }

var sample = regexp.MustCompile(`(?m)^(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$`)

// limitedOrigin is a registry that has nothing, and says how often one may ask.
func limitedOrigin(t *testing.T) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("RateLimit-Remaining", "99;w=21600")
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// scrape starts a registry, sends a request to each route, and returns the metrics that
// it serves then, and the values of the label handler.
func scrape(t *testing.T) (metrics map[string]metric, handlers map[string]bool) {
	t.Helper()
	debug := harness.FreeAddr(t)
	registry := harness.Start(t, harness.Options{Config: harness.Configf(`
http: {debug: {addr: '%s', prometheus: {enabled: true}}}
extensions: {mirror: {upstreams: {origin.example: {url: '%s'}}}}
`, debug, limitedOrigin(t))})
	client := registry.Client()
	image := client.PushImage("app", "v1", "a layer")
	client.Get("/v2/origin.example/app/manifests/v1")
	for _, route := range routes() {
		client.Get(strings.NewReplacer("{name}", "app", "{reference}", image.Digest.String()).Replace(route.Path))
	}
	text := harness.AwaitHTTP(t, "http://"+debug+"/metrics")
	metrics, handlers = map[string]metric{}, map[string]bool{}
	kinds := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		kinds[match[1]] = match[2]
	}
	for _, match := range sample.FindAllStringSubmatch(text, -1) {
		var names []string
		for _, label := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(match[2], -1) {
			if label[1] == "handler" {
				handlers[label[2]] = true
			}
			if label[1] != "le" {
				names = append(names, label[1])
			}
		}
		slices.Sort(names)
		metrics[match[1]] = metric{kinds[match[1]], strings.Join(names, ", ")}
	}
	return metrics, handlers
}

// The page lists the metrics of this project, and those of requests, as they are served.
func TestMetrics(t *testing.T) {
	t.Parallel()
	page := documents.Read(t, metricsPage)
	documented := map[string]metric{}
	for _, row := range slices.Concat(page.Rows("The index"), page.Rows("Garbage collections"), page.Rows("Mirrors"), page.Rows("Metrics of requests")) {
		labels := strings.Split(strings.ReplaceAll(row[2], "none", ""), ", ")
		slices.Sort(labels)
		documented[row[0]] = metric{row[1], strings.Join(labels, ", ")}
	}
	served, handlers := scrape(t)
	maps.DeleteFunc(served, func(name string, _ metric) bool {
		return !strings.HasPrefix(name, "registry_referrers_") && !strings.HasPrefix(name, "registry_collection_") && !strings.HasPrefix(name, "registry_mirror_") && !strings.HasPrefix(name, "registry_http_")
	})
	if !maps.Equal(documented, served) {
		t.Errorf("documented are %v\nserved are %v", documented, served)
	}
	listed := map[string]string{}
	for _, row := range page.Rows("Requests") {
		listed[row[1]] = row[0]
		if !handlers[row[0]] {
			t.Errorf("no metric has the handler %s", row[0])
		}
	}
	names := map[string]string{}
	for _, route := range routes() {
		names[route.Path] = route.Name
	}
	if !maps.Equal(listed, names) {
		t.Errorf("the handlers %v are documented, these are served: %v", listed, names)
	}
}
