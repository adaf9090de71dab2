package documents_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const apiPage = "docs/http-api.md"

// The examples print what the page shows.
func TestAPIExamples(t *testing.T) {
	t.Parallel()
	registry := harness.Start(t, harness.Options{Config: "extensions: {oci: {orasartifacts: null}, retention: {immutable: [{repositories: [releases], tags: ['v*']}]}}"})
	documents.Run(t, documents.NewShell(t, "127.0.0.1:5000", registry.Addr), documents.Read(t, apiPage).Blocks())
}

// The page lists the routes of the extensions, and each route has a section that names
// it.
func TestAPIRoutes(t *testing.T) {
	t.Parallel()
	page := documents.Read(t, apiPage)
	listed := map[string]string{}
	for _, row := range page.Rows("Routes") {
		listed[row[0]] = strings.NewReplacer("`", "", ",", "").Replace(row[1])
	}
	served := map[string]string{}
	for _, route := range routes() {
		methods := route.Methods
		if len(methods) == 0 {
			methods = []string{http.MethodGet, http.MethodHead}
		}
		served[route.Path] = strings.Join(methods, " ")
	}
	if !maps.Equal(listed, served) {
		t.Errorf("%s lists %v, served are %v", apiPage, listed, served)
	}
	for path := range served {
		if byDigest := strings.Replace(path, "{reference}", "{digest}", 1); strings.Count(page.Text, path)+strings.Count(page.Text, byDigest) < 2 {
			t.Errorf("%s has no section about %s", apiPage, path)
		}
	}
}

// Each error that a client can provoke by itself is shown.
func TestAPIErrors(t *testing.T) {
	t.Parallel()
	page := documents.Read(t, apiPage)
	for _, row := range page.Rows("Errors") {
		status, code := row[0], row[1]
		if slices.Contains([]string{"401", "500", "503"}, status) {
			continue // the tests of access and of faults provoke these
		}
		if !slices.ContainsFunc(page.Blocks(), func(b documents.Block) bool {
			return strings.Contains(b.Text, "HTTP/1.1 "+status) && strings.Contains(b.Text, `"code":"`+code)
		}) {
			t.Errorf("%s shows no answer with %s %s", apiPage, status, code)
		}
	}
}
