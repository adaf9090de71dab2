package browse

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// hostile are texts that must stay texts.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`javascript:alert(1)`,
	`</code></pre><a href="https://evil.example/">click</a>`,
	`</svg><iframe src=https://evil.example>`,
	`https://evil.example/sbom`,
	"{{.Title}} ${7*7} \u202egnp.exe\u2066",
	"\x00\x01\x1b[31m",
	`<!--`,
	`]]>`,
	`&lt;b&gt;`,
}

// hostileImage pushes an image in which every text is one of these, with artifacts of the
// same kind.
func hostileImage(c *harness.Client, name string) []string {
	quoted := func(text string) string { return string(must(text)) }
	var labels, env, history []string
	annotated := harness.OCIIndex()
	for i, text := range hostile {
		labels = append(labels, fmt.Sprintf("%s: %s", quoted(text), quoted(text)))
		env = append(env, quoted(text+"="+text))
		history = append(history, fmt.Sprintf(`{"created": %s, "created_by": %s, "comment": %s}`, quoted(text), quoted(text), quoted(text)))
		annotated = annotated.Annotated(fmt.Sprint(i, text), text)
	}
	all := strings.Join(hostile, " ")
	config := c.PushBlob(name, fmt.Appendf(nil, `{"architecture": %[1]s, "os": %[1]s, "variant": %[1]s, "author": %[1]s, "created": %[1]s,
		"config": {"User": %[1]s, "WorkingDir": %[1]s, "StopSignal": %[1]s, "Entrypoint": [%[1]s], "Cmd": [%[1]s], "ExposedPorts": {%[1]s: {}}, "Volumes": {%[1]s: {}},
		"Labels": {%[2]s}, "Env": [%[3]s]}, "history": [%[4]s]}`,
		quoted(all), strings.Join(labels, ","), strings.Join(env, ","), strings.Join(history, ",")))
	config.MediaType = typeConfig
	layer := c.PushBlob(name, []byte("layer"))
	layer.MediaType, layer.Annotations = all, map[string]string{"org.opencontainers.image.title": all}
	image := harness.OCIImage(config, layer)
	image.Annotations = annotated.Annotations
	pushed := c.MustPush(name, "v1", image)
	pushed.Platform = &harness.Platform{OS: all, Architecture: all}
	references := []string{"v1", "index"}
	index := c.MustPush(name, "index", harness.OCIIndex(pushed))
	for _, text := range hostile {
		for _, subject := range []harness.Descriptor{pushed, index} {
			artifact := harness.OCIImage(config, layer).Typed(text).To(subject)
			artifact.Annotations = annotated.Annotations
			references = append(references, c.MustPush(name, "", artifact).Digest.String())
		}
	}
	return references
}

// Whatever manifests say, it is shown as text: no element, no attribute, no link comes
// from them.
func TestHostileTexts(t *testing.T) {
	c := start(t, "").Client()
	for _, reference := range hostileImage(c, "app") {
		for _, kind := range []string{"image", "manifest"} {
			expectHarmless(t, c, "/ui/"+kind+"/app/"+reference)
		}
		c.Get("/ui/file/app/" + reference)
	}
	expectHarmless(t, c, "/ui/tags/app")
	shown := expectPage(t, c, "/ui/image/app/v1", "&lt;script&gt;alert(1)&lt;/script&gt;", "https://evil.example/sbom")
	if !strings.Contains(shown, "&lt;iframe") {
		t.Error("the texts are not shown")
	}
	for _, text := range hostile {
		for _, path := range []string{"/ui/?q=", "/ui/tags/app?q=", "/ui/tags/app?sort=", "/ui/tags/app?page=", "/ui/?after=", "/ui/image/app/", "/ui/tags/", "/ui/file/app/v1?layer=", "/ui/"} {
			answer := c.Get(path + escape(text))
			if answer.Status == http.StatusInternalServerError {
				t.Errorf("%s%q: %s", path, text, answer)
			}
			checkHarmless(t, path+text, string(answer.Body))
		}
	}
}

// What is large is shown in part, and the page says so.
func TestLargeTexts(t *testing.T) {
	c := start(t, "").Client()
	config := c.PushBlob("app", []byte("{}"))
	large := harness.OCIImage(config).Typed("large/one").Annotated("text", strings.Repeat("ä", 500_000))
	for i := range 3000 {
		large = large.Annotated(fmt.Sprintf("name-%04d", i), strings.Repeat("x", 300))
	}
	c.MustPush("app", "large", large)
	page := expectPage(t, c, "/ui/image/app/large", "name-0000", "2,901 more")
	if len(page) > 300_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
	expectPage(t, c, "/ui/manifest/app/large", "Only the first 262 kB are shown")
	one := c.MustPush("app", "", harness.OCIImage(config).Typed("large/two").Annotated("text", strings.Repeat("ä", 500_000)))
	expectPage(t, c, "/ui/image/app/"+one.Digest.String(), "… (998,000 bytes more)")
	subject := c.PushImage("app", "v1", "image")
	for i := range 20 {
		c.MustPush("app", "", harness.OCIIndex().Typed("large/three").To(subject).Annotated("text", strings.Repeat("x", 100_000)).Annotated("number", fmt.Sprint(i)))
	}
	if page := expectPage(t, c, "/ui/image/app/v1", "20 other artifacts attached"); len(page) > 300_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
	configured := func(content []byte, size int64) string {
		d := c.PushBlob("app", content)
		d.MediaType, d.Size = typeConfig, max(d.Size, size)
		return c.MustPush("app", "", harness.OCIImage(d)).Digest.String()
	}
	expectPage(t, c, "/ui/image/app/"+configured([]byte(`{"x":"`+strings.Repeat("x", 2<<20)+`"}`), 0), "larger than 1.0 MB")
	expectPage(t, c, "/ui/image/app/"+configured([]byte("no JSON"), 0), "it is not JSON")
	expectPage(t, c, "/ui/image/app/"+configured([]byte(`{"os":7,"config":{"Env":"A=b","Cmd":["run"]}}`), 0), "Command", "run")
	expectPage(t, c, "/ui/image/app/"+configured([]byte(strings.Repeat("[", 900_000)), 0), "it is not JSON")
}

// An index may list what is not there, itself, and the same thing again and again.
func TestOddIndexes(t *testing.T) {
	c := start(t, "").Client()
	image := c.PushImage("app", "v1", "image")
	image.Platform = &harness.Platform{OS: "linux", Architecture: "amd64"}
	c.MustPush("app", "twice", harness.OCIIndex(image, image))
	expectPage(t, c, "/ui/image/app/twice", "linux/amd64", "linux/amd64", "Digest")
	c.MustPush("app", "empty", harness.OCIIndex())
	expectPage(t, c, "/ui/image/app/empty", "The index lists nothing.")
	expectPage(t, c, "/ui/tags/app", ">empty<", "Index")
	gone := c.PushImage("app", "", "another image")
	gone.Platform = image.Platform
	c.MustPush("app", "gone", harness.OCIIndex(gone))
	c.DeleteManifest("app", gone.Digest)
	expectPage(t, c, "/ui/image/app/gone", "it is not in the repository")
	expectPage(t, c, "/ui/tags/app", ">gone<", "Multi-platform image")
}

func expectHarmless(t *testing.T, c *harness.Client, path string) {
	t.Helper()
	checkHarmless(t, path, string(c.Get(path).Expect(http.StatusOK).Body))
}

// A name that no repository can have leads to no other place in the storage.
func TestNamesStayInTheirRepository(t *testing.T) {
	c := start(t, "").Client()
	image := c.PushImage("app", "v1", "image")
	other := c.PushImage("other", "v1", "another image")
	for _, path := range []string{
		"/ui/tags/..%2fapp", "/ui/tags/app%2f..%2fother", "/ui/image/app/..%2f..%2fother", "/ui/tags/app/_manifests", "/ui/image/app%00/v1",
		"/ui/image/app/" + other.Digest.String(), "/ui/raw/app/" + other.Digest.String(), "/ui/file/other/" + image.Digest.String(),
	} {
		if answer := c.Get(path); answer.Status != http.StatusNotFound && answer.Status != http.StatusBadRequest && answer.Status != http.StatusMovedPermanently {
			t.Errorf("%s: %s", path, answer)
		}
	}
	c.Get("/ui/image/app/" + digest.FromString("none").String()).Expect(http.StatusNotFound)
}
