package browse

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// expectPage gets a page and expects these texts in it, in this order.
func expectPage(t *testing.T, c *harness.Client, path string, texts ...string) string {
	t.Helper()
	answer := c.Get(path).Expect(http.StatusOK)
	answer.ExpectHeader("Content-Type", "text/html; charset=utf-8")
	rest := string(answer.Body)
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !found {
			t.Errorf("%s does not show %q, or not behind what was expected before: %s", path, text, answer.Body)
			return string(answer.Body)
		}
		rest = after
	}
	return string(answer.Body)
}

func TestPages(t *testing.T) {
	r := start(t, "")
	c := r.Client()
	expectPage(t, c, "/ui/", "There are no repositories here yet", "docker push "+r.Addr+"/NAME:TAG")
	d := newDemo(c, "shop/web")
	c.PushImage("base", "v1", "base")
	expectPage(t, c, "/ui/", `<a href="/ui/tags/base">base</a>`, "1 tag", `<a href="/ui/tags/shop/web">shop/web</a>`, "5 tags")
	expectPage(t, c, "/ui/tags/shop/web", "5 tags",
		`<a href="/ui/image/shop/web/1.3.0">1.3.0</a>`, "Image", "linux/amd64", "8.3 MB",
		`<a href="/ui/image/shop/web/1.4.0">1.4.0</a>`, "Multi-platform image", "linux/amd64", "linux/arm64", "8.3 MB", "for linux/amd64", d.index.Digest.String())
	expectPage(t, c, "/ui/image/shop/web/1.4.0",
		"1 signature attached", "1 SBOM attached", "1 attestation attached",
		"docker pull "+r.Addr+"/shop/web:1.4.0", "docker pull "+r.Addr+"/shop/web@"+d.index.Digest.String(),
		"16 MB", "all platforms, shared layers counted once", // 0.8 + 2 × 7.5 MB
		"20 Nov 2026 10:00 UTC", "https://git.example/shop",
		"What is attached", "Image linux/amd64", "Scan report (SARIF)", "Attestation (in-toto)", "created <time", "SBOM (SPDX)", "Signature (Notary Project)", "Signature (cosign)",
		"<svg", "Multi-platform image", "</svg>")
	expectPage(t, c, "/ui/image/shop/web/"+d.amd64.Digest.String(),
		"Image for linux/amd64", "1 report attached", "8.3 MB", "Layers", "800 kB", "7.5 MB",
		"Entry point", "/srv/shop serve", "--listen :8080", "65532", "8080/tcp", "LOG_LEVEL", "info", "licenses", "Apache-2.0", "COPY shop /srv/shop", "no layer")
	expectPage(t, c, "/ui/image/shop/web/"+d.sbom.Digest.String(),
		"SBOM (SPDX)", "1 signature attached", "oras pull", "Attached to", d.index.Digest.String(), "Files", "shop.spdx.json", "Download")
	expectPage(t, c, "/ui/image/base/v1", "Nothing attached", "Nothing is attached: no signature, no SBOM, no attestation.")
	expectPage(t, c, "/ui/manifest/shop/web/1.4.0", "application/vnd.oci.image.index.v1&#43;json", "&#34;schemaVersion&#34;: 2")
	for _, path := range []string{"/ui/image/shop/web/1.4.0", "/ui/image/shop/web/" + d.signature.Digest.String()} {
		if page := expectPage(t, c, path); strings.Contains(strings.ReplaceAll(page, "Nothing here is verified", ""), "verified") {
			t.Errorf("%s says that something is verified", path)
		}
	}
}

// What hangs together in circles, or is attached to too much, is drawn once and up to a
// depth.
func TestAttachedInDepth(t *testing.T) {
	c := start(t, "").Client()
	at := c.PushImage("deep", "v1", "image")
	for i := range 6 {
		at = c.MustPush("deep", "", harness.OCIIndex().Typed(fmt.Sprintf("level/%d", i+1)).To(at))
	}
	page := expectPage(t, c, "/ui/image/deep/v1", "level/1", "level/2", "level/3", "level/4", "was not asked for; open it to see")
	if strings.Contains(page, "level/5") {
		t.Error("more than four levels are shown")
	}
	many := c.PushImage("many", "v1", "image")
	for i := range 60 {
		c.MustPush("many", "", harness.OCIIndex().Typed("note/x").To(many).Annotated("number", fmt.Sprint(i)))
	}
	expectPage(t, c, "/ui/image/many/v1", "60 other artifacts attached", "35 more are not shown here", "/v2/many/referrers/"+many.Digest.String(), "</svg>", "are not drawn")
}

func TestRepositoriesAreSearchedAndPaged(t *testing.T) {
	c := start(t, "").Client()
	for i := range 30 {
		c.PushImage(fmt.Sprintf("team/app-%02d", i), "v1", "image")
	}
	for _, name := range []string{"team", "team/app", "team/app/x", "team/apq", "tea", "teams"} {
		c.PushImage(name, "v1", "image")
	}
	page := expectPage(t, c, "/ui/?q=team/app", ">team/app<", ">team/app/x<", ">team/app-00<", "Next page")
	next := between(page, `<a rel="next" href="`, `"`)
	page = expectPage(t, c, strings.ReplaceAll(next, "&amp;", "&"), ">team/app-29<", "First page")
	for _, other := range []string{">team/apq<", ">team<", ">tea<", ">teams<", "Next page"} {
		if strings.Contains(page, other) {
			t.Errorf("the last page shows %s", other)
		}
	}
	page = expectPage(t, c, "/ui/?q=team/apq", ">team/apq<")
	if strings.Contains(page, "team/app") {
		t.Error("the search for a name finds another one")
	}
	expectPage(t, c, "/ui/?q=none", "There is no repository whose name begins with")
	for _, bad := range []string{"A", "../", "a//b", "/", "%00", "a%2f..%2fb"} {
		expectPage(t, c, "/ui/?q="+bad, "No name of a repository begins with")
	}
	found := map[string]bool{}
	for path := "/ui/"; path != ""; {
		page := strings.ReplaceAll(expectPage(t, c, path), "&amp;", "&")
		for _, link := range strings.Split(page, `<a href="/ui/tags/`)[1:] {
			name, _, _ := strings.Cut(link, `"`)
			if found[name] {
				t.Errorf("%s is listed twice", name)
			}
			found[name] = true
		}
		path = between(page, `<a rel="next" href="`, `"`)
	}
	if len(found) != 36 {
		t.Errorf("%d of 36 repositories are listed: %v", len(found), found)
	}
}

func TestTagsAreSearchedSortedAndPaged(t *testing.T) {
	c := start(t, "").Client()
	image := c.PushImage("app", "v00", "image")
	content := c.GetManifest("app", image.Digest.String()).Body
	for i := range 29 {
		c.PutManifest("app", fmt.Sprintf("v%02d", i+1), harness.MediaTypeOCIImage, content).Expect(http.StatusCreated)
	}
	c.PutManifest("app", "latest", harness.MediaTypeOCIImage, content).Expect(http.StatusCreated)
	expectPage(t, c, "/ui/tags/app", "31 tags", ">latest<", ">v00<", ">v08<", "Page 1 of 4", `href="/ui/tags/app?page=2"`)
	expectPage(t, c, "/ui/tags/app?page=3", ">v19<", ">v28<", "Page 3 of 4")
	expectPage(t, c, "/ui/tags/app?page=99", ">v29<", "Page 4 of 4")
	expectPage(t, c, "/ui/tags/app?page=x", ">latest<")
	expectPage(t, c, "/ui/tags/app?sort=name-down", ">v29<", ">v20<", "Page 1 of 4")
	expectPage(t, c, "/ui/tags/app?q=v1", "10 of them begin", ">v10<", ">v19<")
	expectPage(t, c, "/ui/tags/app?q=x", "No tag begins with “x”")
	c.PutManifest("app", "v07", harness.MediaTypeOCIImage, content).Expect(http.StatusCreated)
	expectPage(t, c, "/ui/tags/app?sort=time", `aria-current="true">Newest first<`, ">v07<", ">latest<", ">v29<", ">v22<")
	for i := range 40 {
		c.PutManifest("app", fmt.Sprintf("w%02d", i), harness.MediaTypeOCIImage, content).Expect(http.StatusCreated)
	}
	expectPage(t, c, "/ui/tags/app?sort=time", "too many tags to put them in the order of time", ">latest<")
	expectPage(t, c, "/ui/tags/app?sort=time&q=v", `aria-current="true">Newest first<`, ">v07<", ">v29<")
}

func TestFiles(t *testing.T) {
	c := start(t, "").Client()
	d := newDemo(c, "app")
	file := c.Get("/ui/file/app/" + d.sbom.Digest.String()).Expect(http.StatusOK).ExpectBody(d.sbomText)
	file.ExpectHeader("Content-Type", "application/octet-stream").ExpectHeader("X-Content-Type-Options", "nosniff").
		ExpectHeader("Content-Disposition", "attachment; filename=shop.spdx.json")
	c.Head("/ui/file/app/"+d.sbom.Digest.String()).Expect(http.StatusOK).ExpectHeader("Content-Length", fmt.Sprint(len(d.sbomText)))
	raw := c.Get("/ui/raw/app/1.4.0").Expect(http.StatusOK).ExpectHeader("Content-Type", "application/octet-stream")
	if sum := fmt.Sprintf("sha256:%x", sha256.Sum256(raw.Body)); sum != d.index.Digest.String() {
		t.Errorf("the manifest that is downloaded has the digest %s", sum)
	}
	c.Get("/ui/file/app/" + d.sbom.Digest.String() + "?layer=1").Expect(http.StatusNotFound)
	c.Get("/ui/file/app/" + d.sbom.Digest.String() + "?layer=-1").Expect(http.StatusNotFound)
	c.Get("/ui/file/app/1.4.0").Expect(http.StatusSeeOther).ExpectHeader("Location", "/ui/image/app/"+d.index.Digest.String())
	for title, want := range map[string]string{
		"../../etc/passwd": "passwd", "a b\r\nX: y\"": "a_b_X_y", ".bashrc": "bashrc", "é": "", "a/..": "", strings.Repeat("x", 300): strings.Repeat("x", 100),
	} {
		sbom := d.attach(c, typeSPDX, d.index, "2026-01-01T00:00:00Z", title, []byte(title))
		got := c.Get("/ui/file/app/" + sbom.Digest.String()).Expect(http.StatusOK).Header.Get("Content-Disposition")
		if want == "" {
			want = "sbom-"
		}
		if !strings.HasPrefix(got, "attachment; filename="+want) && !strings.HasPrefix(got, `attachment; filename="`+want) {
			t.Errorf("a file %q is offered as %s", title, got)
		}
	}
}

// Each error is a page that says what to do, with the status that the API would answer.
func TestErrorsArePages(t *testing.T) {
	c := start(t, "").Client()
	newDemo(c, "app")
	missing := "sha256:" + strings.Repeat("0", 64)
	for path, want := range map[string]struct {
		status  int
		heading string
	}{
		"/ui/none":                     {404, "There is no such page"},
		"/ui/tags/":                    {400, "This is not the name of a repository"},
		"/ui/tags/A":                   {400, "This is not the name of a repository"},
		"/ui/tags/none":                {404, "There is no such repository"},
		"/ui/?after=A":                 {400, "This is not the name of a repository"},
		"/ui/image/app/none":           {404, "There is no such image"},
		"/ui/image/app/" + missing:     {404, "There is no such image"},
		"/ui/image/none/v1":            {404, "There is no such image"},
		"/ui/image/app/sha256:0":       {400, "This is neither a tag nor a digest"},
		"/ui/image/app/%3Cscript%3E":   {400, "This is neither a tag nor a digest"},
		"/ui/manifest/app/none":        {404, "There is no such image"},
		"/ui/raw/app/none":             {404, "There is no such image"},
		"/ui/file/app/none":            {404, "There is no such image"},
		"/ui/file/app/1.3.0?layer=one": {404, "There is no such file"},
		"/ui/sign-in":                  {404, "There is no such page"},
	} {
		answer := c.Get(path).Expect(want.status).ExpectHeader("Content-Type", "text/html; charset=utf-8")
		if !strings.Contains(string(answer.Body), "<h1>"+want.heading+"</h1>") || !strings.Contains(string(answer.Body), "All repositories</a>") {
			t.Errorf("%s: %s", path, answer)
		}
		c.Head(path).Expect(want.status)
	}
	c.Get("/ui").Expect(http.StatusMovedPermanently).ExpectHeader("Location", "/ui/")
}

func TestMethods(t *testing.T) {
	c := start(t, "").Client()
	d := newDemo(c, "app")
	for _, path := range []string{
		"/ui/", "/ui/tags/app", "/ui/image/app/1.4.0", "/ui/manifest/app/1.4.0", "/ui/raw/app/1.4.0", "/ui/file/app/" + d.sbom.Digest.String(), "/ui/style.css", "/ui/icon.svg",
	} {
		for _, header := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"} {
			if c.Get(path).Expect(http.StatusOK).Header.Get(header) == "" {
				t.Errorf("%s is answered without %s", path, header)
			}
		}
		if policy := c.Head(path).Expect(http.StatusOK).Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'self';") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s may do %s", path, policy)
		}
		for _, method := range []string{"PUT", "POST", "PATCH", "DELETE"} {
			answer := c.Send(method, path, nil).Expect(http.StatusMethodNotAllowed).ExpectHeader("Allow", "GET, HEAD")
			if !strings.Contains(string(answer.Body), "The page cannot do this") {
				t.Errorf("%s %s: %s", method, path, answer)
			}
		}
	}
}

// The pages are where http.prefix says, and so are all their links.
func TestPrefix(t *testing.T) {
	r := start(t, "http: {prefix: /reg/}")
	c := r.Client()
	c.URL = r.URL + "/reg"
	newDemo(c, "app")
	for _, path := range []string{"/ui/", "/ui/tags/app", "/ui/image/app/1.4.0", "/ui/image/app/none"} {
		page := string(c.Get(path).Body)
		for _, target := range targets(page) {
			if !strings.HasPrefix(target, "/reg/ui/") && target != "#content" {
				t.Errorf("%s links to %s", path, target)
			}
		}
	}
	c.Get("/ui").Expect(http.StatusMovedPermanently).ExpectHeader("Location", "/reg/ui/")
	c.Get(r.URL + "/ui/").Expect(http.StatusNotFound)
}

// The pages are on in the embedded configuration and that of the container image, and off
// elsewhere.
func TestWhereThePagesAreOn(t *testing.T) {
	off := harness.Start(t, harness.Options{Driver: harness.InMemory}).Client()
	off.Get("/ui/").Expect(http.StatusNotFound)
	off.Get("/ui").Expect(http.StatusNotFound)
	for name, args := range map[string][]string{"embedded": {"serve"}, "image": {"serve", harness.Root() + "/docker/config.yml"}} {
		t.Run(name, func(t *testing.T) {
			env := []string{"REGISTRY_HTTP_ADDR=127.0.0.1:0", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=" + t.TempDir()}
			on := harness.Start(t, harness.Options{Args: args, Env: env}).Client()
			expectPage(t, on, "/ui/", "There are no repositories here yet")
		})
	}
}

// between is the text between two others, empty if they are not there.
func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, ok := strings.Cut(rest, after)
	if !ok {
		return ""
	}
	return found
}
