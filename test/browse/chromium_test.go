//go:build e2e

package browse

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

var screenshots = flag.Bool("browse.screenshots", false, "write the screenshots into docs/images")

// shown are the screenshots of views that docs/browse.md shows.
var shown = []string{"browse-image-desk-light.png", "browse-tags-desk-dark.png"}

// host is the name by which the browser knows the registry.
const host = "registry.example"

// step is one page that the browser looks at, and what it does there.
type step struct {
	Name           string   `json:"name"`
	Path           string   `json:"path"`
	Width          int      `json:"width"`
	Scheme         string   `json:"scheme"`
	WithoutScripts bool     `json:"withoutScripts"`
	User           string   `json:"user,omitempty"`
	Password       string   `json:"password,omitempty"`
	Actions        []action `json:"actions,omitempty"`
	Screenshot     string   `json:"screenshot,omitempty"`
	Most           int      `json:"most,omitempty"` // the height of the screenshot
}

// action is a click at what a selector names, a text that is typed there, or a key.
type action struct {
	At    string `json:"at,omitempty"`
	Type  string `json:"type,omitempty"`
	Press string `json:"press,omitempty"`
}

// report is what the browser has seen.
type report struct {
	Name         string   `json:"name"`
	Status       int      `json:"status"`
	Path         string   `json:"path"`
	Text         string   `json:"text"`
	Width        int      `json:"width"`
	Cookies      string   `json:"cookies"`
	Focus        string   `json:"focus"`
	Requests     []string `json:"requests"`
	Problems     []string `json:"problems"`
	Violations   []string `json:"violations"`
	Milliseconds float64  `json:"milliseconds"`
}

// look lets Chromium do the steps, and expects of each what all pages promise.
func look(t testing.TB, address string, steps ...step) []report {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: install it (Debian: apt-get install chromium, see test/e2e/install)", err)
	}
	for i := range steps {
		if steps[i].Width == 0 {
			steps[i].Width = 1100
		}
		if steps[i].Scheme == "" {
			steps[i].Scheme = "light"
		}
	}
	task, err := json.Marshal(map[string]any{"chromium": chromium, "host": host, "address": address, "steps": steps})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(harness.Root(), "test", "browse", "look.mjs"))
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(task), &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("looking at the pages: %v (test/e2e/install installs what it needs)\n%s", err, errOut.String())
	}
	var reports []report
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil {
		t.Fatal(err)
	}
	for i, seen := range reports {
		name := fmt.Sprintf("%s (%s, %d pixels)", seen.Name, steps[i].Scheme, steps[i].Width)
		for _, target := range seen.Requests {
			if !strings.HasPrefix(target, "http://"+host+"/ui/") && target != "http://"+host+"/ui" {
				t.Errorf("%s: the browser has asked for %s", name, target)
			}
		}
		for _, problem := range slices.Concat(seen.Problems, seen.Violations) {
			if seen.Status >= 400 && strings.Contains(problem, "Failed to load resource") {
				continue // the page itself is the answer to a refusal
			}
			t.Errorf("%s: %s", name, problem)
		}
		if seen.Width > steps[i].Width {
			t.Errorf("%s: the page is %d pixels wide", name, seen.Width)
		}
	}
	return reports
}

// picture is where a screenshot goes.
func picture(t *testing.T, name string) string {
	t.Helper()
	if !*screenshots {
		return filepath.Join(t.TempDir(), name)
	}
	folder := filepath.Join(harness.Root(), "docs", "images")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}

// Every view is accessible, light and dark, on a desk and on a phone; it loads nothing from
// elsewhere, and fits into its window.
func TestViewsInChromium(t *testing.T) {
	r := start(t, "")
	c := r.Client()
	d := newDemo(c, "shop/web")
	for name, tags := range map[string]int{"infra/base": 3, "shop/api": 2, "shop/payments": 1, "shop/search": 4} {
		for i := range tags {
			c.PushImage(name, fmt.Sprintf("v%d", i+1), name)
		}
	}
	hostileImage(c, "hostile")
	views := []struct{ name, path, picture string }{
		{"repositories", "/ui/", ""},
		{"search", "/ui/?q=none", ""},
		{"tags", "/ui/tags/shop/web", "tags"},
		{"image", "/ui/image/shop/web/1.4.0", "image"},
		{"platform", "/ui/image/shop/web/" + d.amd64.Digest.String(), ""},
		{"artifact", "/ui/image/shop/web/" + d.sbom.Digest.String(), ""},
		{"manifest", "/ui/manifest/shop/web/1.4.0", ""},
		{"error", "/ui/image/shop/web/none", ""},
		{"hostile image", "/ui/image/hostile/v1", ""},
		{"hostile index", "/ui/image/hostile/index", ""},
		{"hostile tags", "/ui/tags/hostile", ""},
	}
	var steps []step
	for _, view := range views {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{1100, 390} {
				s := step{Name: view.name, Path: view.path, Scheme: scheme, Width: width}
				size := map[int]string{1100: "desk", 390: "phone"}[width]
				if name := fmt.Sprintf("browse-%s-%s-%s.png", view.picture, size, scheme); slices.Contains(shown, name) {
					s.Screenshot, s.Most = picture(t, name), map[int]int{1100: 2200, 390: 900}[width]
				}
				steps = append(steps, s)
			}
		}
	}
	for _, seen := range look(t, r.Addr, steps...) {
		if want := map[bool]int{true: 404, false: 200}[seen.Name == "error"]; seen.Status != want {
			t.Errorf("%s: %d", seen.Name, seen.Status)
		}
	}
}

// Without JavaScript one gets everywhere, by clicks and by the keyboard.
func TestWithoutJavaScript(t *testing.T) {
	r := start(t, "")
	newDemo(r.Client(), "shop/web")
	reports := look(t, r.Addr,
		step{Name: "clicks", Path: "/ui", WithoutScripts: true, Actions: []action{
			{At: "#q", Type: "shop/"},
			{At: ".search button"},
			{At: ".cards a"},
			{At: "#q", Type: "1.4"},
			{At: ".search button"},
			{At: "tbody a"},
			{At: ".node.kind-sbom a"},
			{At: ".facts a[href*='/ui/image/']"},
			{At: ".facts a[href*='/ui/manifest/']"},
		}},
		step{Name: "keys", Path: "/ui/", Actions: []action{{Press: "Tab"}}},
		step{Name: "more keys", Path: "/ui/", WithoutScripts: true, Actions: []action{{Press: "Tab"}, {Press: "Tab"}, {Press: "Tab"}, {Press: "Tab"}, {Press: "Tab"}}},
	)
	if seen := reports[0]; !strings.HasPrefix(seen.Path, "/ui/manifest/shop/web/sha256:") || !strings.Contains(seen.Text, "application/vnd.oci.image.index.v1+json") {
		t.Errorf("the clicks have led to %s: %s", seen.Path, seen.Text)
	}
	if reports[1].Focus != "Skip to the content" {
		t.Errorf("the first key leads to %q", reports[1].Focus)
	}
	if !strings.Contains(reports[2].Focus, "shop/web") && reports[2].Focus != "Search" {
		t.Errorf("the keys lead to %q", reports[2].Focus)
	}
}

// Each kind of access works in a browser.
func TestAccessInChromium(t *testing.T) {
	password := start(t, harness.HTPasswd(t, "tester", "secret"))
	newDemo(password.Client().With(harness.Basic("tester", "secret")), "app")
	reports := look(t, password.Addr,
		step{Name: "password", Path: "/ui/tags/app", User: "tester", Password: "secret"},
		step{Name: "no password", Path: "/ui/tags/app"},
	)
	if reports[0].Status != 200 || !strings.Contains(reports[0].Text, "1.4.0") {
		t.Errorf("with a password: %d %s", reports[0].Status, reports[0].Text)
	}
	if strings.Contains(reports[1].Text, "1.4.0") {
		t.Errorf("without a password: %s", reports[1].Text)
	}
	s := newRealm(t, "mine/app")
	tokens := start(t, s.config)
	for _, name := range []string{"mine/app", "other/app"} {
		newDemo(tokens.Client().With(s.everything("mine/app", "other/app")), name)
	}
	form := []action{{At: "#user", Type: "tester"}, {At: "#password", Type: "secret"}, {At: "button.main"}}
	reports = look(t, tokens.Addr,
		step{Name: "the form", Path: "/ui/tags/mine/app", Screenshot: picture(t, "browse-sign-in-phone-light.png"), Width: 390, Most: 900},
		step{Name: "the form in the dark", Path: "/ui/tags/mine/app", Scheme: "dark"},
		step{Name: "a token", Path: "/ui/tags/mine/app?sort=time", WithoutScripts: true, Actions: form},
		step{Name: "the list", Path: "/ui/", Actions: form},
		step{Name: "a wrong password", Path: "/ui/", Actions: []action{{At: "#user", Type: "tester"}, {At: "#password", Type: "wrong"}, {At: "button.main"}}},
		step{Name: "signed out", Path: "/ui/", Actions: append(slices.Clone(form), action{At: ".signed-in button"})},
	)
	if seen := reports[2]; seen.Path != "/ui/tags/mine/app" || !strings.Contains(seen.Text, "Signed in as tester") || !strings.Contains(seen.Text, "1.4.0") {
		t.Errorf("with a token: %s %s", seen.Path, seen.Text)
	}
	if seen := reports[3]; !strings.Contains(seen.Text, "mine/app") || strings.Contains(seen.Text, "other/app") || seen.Cookies != "" {
		t.Errorf("the list: %q %s", seen.Cookies, seen.Text)
	}
	if seen := reports[4]; !strings.Contains(seen.Text, "is not right") {
		t.Errorf("with a wrong password: %s", seen.Text)
	}
	if seen := reports[5]; strings.Contains(seen.Text, "mine/app") || !strings.Contains(seen.Text, "Sign in") {
		t.Errorf("signed out: %s", seen.Text)
	}
}

// loads is how often each page is loaded to see how long that takes.
const loads = 40

// How long the views of a repository with 10,000 tags take, each with 3 referrers, once they
// have been looked at: from the click until everything is shown, and the answer alone. The
// figures are in docs/browse.md. It takes some minutes, whatever -benchtime says.
func BenchmarkViews(b *testing.B) {
	root := b.TempDir()
	fill(harness.NewSeed(b, root, large), 10_000)
	r := harness.Start(b, harness.Options{Root: root, Config: "extensions: {browse: {enabled: true}, referrers: {wait: 10m}}"})
	c := r.Client()
	c.Referrers(harness.OCI, large, digest.FromString("none")) // until the index has read everything
	for _, path := range views() {
		c.Get(path).Expect(200)
		var answers []time.Duration
		for range loads {
			began := time.Now()
			c.Get(path).Expect(200)
			answers = append(answers, time.Since(began))
		}
		var steps []step
		for range loads / 8 {
			steps = append(steps, step{Name: path, Path: path, WithoutScripts: true})
		}
		var took []float64
		for _, seen := range look(b, r.Addr, steps...) {
			took = append(took, seen.Milliseconds)
		}
		slices.Sort(answers)
		slices.Sort(took)
		b.Logf("%s: p95 %.1f ms, shown in %.0f ms", path, float64(answers[len(answers)*95/100].Microseconds())/1000, took[len(took)*95/100])
	}
}
