package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/registry"
)

// These tests use the extension of the Example: its features work everywhere, although
// nothing else in the project knows it.

func withScans() []extensions.Extension { return []extensions.Extension{oci.New(), new(scans)} }

// place is a storage tree and the file of a configuration for it.
type place struct {
	t          *testing.T
	root, file string
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{t, t.TempDir(), filepath.Join(t.TempDir(), "config.yml")}
	p.configure("")
	return p
}

// configure writes the configuration, with a section for the extensions.
func (p place) configure(section string) {
	p.t.Helper()
	text := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}, maintenance: {uploadpurging: {enabled: false}}}
http: {secret: secret}
extensions: {%s}
`, p.root, section)
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// serve serves the configuration until the test ends.
func (p place) serve() client {
	p.t.Helper()
	text, err := os.ReadFile(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	config, err := registry.ParseConfig(text)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := registry.New(context.Background(), config, withScans()...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := r.Shutdown(context.Background()); err != nil {
			p.t.Error(err)
		}
	})
	return newClient(p.t, r)
}

// execute runs a command on the configuration.
func (p place) execute(cmd *cobra.Command, args ...string) (string, error) {
	p.t.Helper()
	var out bytes.Buffer
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

// mustExecute is execute for a command that works.
func (p place) mustExecute(cmd *cobra.Command, args ...string) string {
	p.t.Helper()
	out, err := p.execute(cmd, args...)
	if err != nil {
		p.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// reportOn is the manifest of a report on an image, with annotations given as
// name and value.
func reportOn(t *testing.T, subject v1.Descriptor, artifactType string, files []v1.Descriptor, annotations ...string) string {
	t.Helper()
	m := map[string]any{"mediaType": report.MediaType, "reports": files}
	if subject.Digest != "" {
		m["subject"] = subject
	}
	if artifactType != "" {
		m["artifactType"] = artifactType
	}
	if len(annotations) > 0 {
		m["annotations"] = annotated(annotations...)
	}
	return jsonOf(t, m)
}

func annotated(pairs ...string) map[string]string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

const created = "com.example.scan.created"

func TestThirdPartyTypeIsRefused(t *testing.T) {
	c := newPlace(t).serve()
	image, file := c.pushImage("layer", "v1"), c.pushBlob("findings")
	missing, larger, gone, long, untyped := file, file, image, image, image
	missing.Digest, gone.Digest = digest.FromString("missing"), digest.FromString("missing")
	larger.Size, long.Size = larger.Size+1, long.Size+1
	untyped.MediaType = "application/octet-stream"
	of := func(files ...v1.Descriptor) string { return reportOn(t, image, "", files) }
	for name, test := range map[string]struct{ manifest, code, fields string }{
		"a file that is missing":      {of(file, missing), "MANIFEST_BLOB_UNKNOWN", "[reports[1]]"},
		"a file of another size":      {of(larger), "MANIFEST_INVALID", "[reports[0].size]"},
		"a manifest that is missing":  {of(file, gone), "MANIFEST_BLOB_UNKNOWN", "[reports[1]]"},
		"a manifest of another size":  {of(long), "MANIFEST_INVALID", "[reports[0].size]"},
		"a manifest named as a file":  {of(untyped), "MANIFEST_BLOB_UNKNOWN", "[reports[0]]"},
		"a date that is none":         {reportOn(t, image, "", nil, created, "today"), "MANIFEST_INVALID", "[annotations[" + created + "]]"},
		"no media type":               {`{"reports":[]}`, "MANIFEST_INVALID", "[mediaType]"},
		"another media type":          {`{"mediaType":"` + v1.MediaTypeImageManifest + `"}`, "MANIFEST_INVALID", "[mediaType]"},
		"references that are no list": {`{"mediaType":"` + report.MediaType + `","reports":{}}`, "MANIFEST_INVALID", "[reports]"},
	} {
		t.Run(name, func(t *testing.T) {
			c := client{t, c.url}
			path := manifestPath(digest.FromString(test.manifest).String())
			refused := c.expect(http.StatusBadRequest, http.MethodPut, path, test.manifest, "Content-Type", report.MediaType).problem(t)
			if refused.Code != test.code || refused.fields() != test.fields {
				t.Errorf("%+v, want %s for %s", refused, test.code, test.fields)
			}
			c.expect(http.StatusNotFound, http.MethodGet, path, "")
		})
	}
}

func TestThirdPartyTypeIsPulled(t *testing.T) {
	c := newPlace(t).serve()
	image := c.pushImage("layer", "v1")
	// A reference may be to a blob or to a manifest.
	content := reportOn(t, image, "", []v1.Descriptor{c.pushBlob("findings"), image})
	m := c.push(report.MediaType, content, "report")
	for _, reference := range []string{"report", m.Digest.String()} {
		for _, accept := range []string{"", report.MediaType, "*/*"} {
			for method, body := range map[string]string{http.MethodGet: content, http.MethodHead: ""} {
				got := c.expect(http.StatusOK, method, manifestPath(reference), "", "Accept", accept)
				if got.body != body || got.header.Get("Content-Length") != fmt.Sprint(m.Size) ||
					got.header.Get("Content-Type") != report.MediaType || got.header.Get("Docker-Content-Digest") != m.Digest.String() {
					t.Errorf("%s %s, Accept %q: %+v", method, reference, accept, got)
				}
			}
		}
	}
	if got := c.do(http.MethodPut, manifestPath("again"), content, "Content-Type", report.MediaType).header["Oci-Subject"]; fmt.Sprint(got) != fmt.Sprint([]string{image.Digest.String()}) {
		t.Errorf("OCI-Subject is %q", got)
	}
}

// listed are the entries of a listing.
func (c client) listed(path string) []v1.Descriptor {
	c.t.Helper()
	var body struct{ Manifests, Reports []v1.Descriptor }
	if err := json.Unmarshal([]byte(c.expect(http.StatusOK, http.MethodGet, path, "").body), &body); err != nil {
		c.t.Fatal(err)
	}
	return append(body.Manifests, body.Reports...)
}

func TestThirdPartyTypeIsListed(t *testing.T) {
	c := newPlace(t).serve()
	image := c.pushImage("layer", "v1")
	push := func(artifactType, date string) v1.Descriptor {
		m := c.push(report.MediaType, reportOn(t, image, artifactType, nil, created, date))
		m.ArtifactType, m.Annotations = artifactType, annotated(created, date)
		return m
	}
	newest, oldest := push("scan/weekly", "2024-03-01T00:00:00Z"), push("", "2024-01-01T00:00:00Z")
	middle := push("scan/weekly", "2024-02-01T00:00:00Z")
	index := c.push(v1.MediaTypeImageIndex, jsonOf(t, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, ArtifactType: "list", Subject: &image,
		Manifests: []v1.Descriptor{}, Annotations: annotated(v1.AnnotationCreated, "2024-02-15T00:00:00Z"),
	}))
	index.ArtifactType, index.Annotations = "list", annotated(v1.AnnotationCreated, "2024-02-15T00:00:00Z")

	subject := image.Digest.String()
	for path, want := range map[string][]v1.Descriptor{
		"/v2/app/referrers/" + subject:                               {oldest, middle, index, newest},
		"/v2/app/referrers/" + subject + "?artifactType=scan/weekly": {middle, newest},
		"/scans/v1/app/reports/" + subject:                           {newest, middle, oldest},
		"/scans/v1/app/reports/" + subject + "?n=2":                  {newest, middle},
		"/scans/v1/app/reports/" + newest.Digest.String():            {},
	} {
		if got := c.listed(path); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// The route of an extension behaves like any other.
func TestThirdPartyRoute(t *testing.T) {
	c := newPlace(t).serve()
	for _, test := range []struct {
		method, path string
		status       int
		code         string
	}{
		{http.MethodGet, "/scans/v1/app/reports/latest", http.StatusBadRequest, "DIGEST_INVALID"},
		{http.MethodGet, "/scans/v1/App/reports/latest", http.StatusBadRequest, "NAME_INVALID"},
		{http.MethodPut, "/scans/v1/app/reports/latest", http.StatusMethodNotAllowed, "UNSUPPORTED"},
		{http.MethodGet, "/scans/v1/app/reports/latest?n=0", http.StatusBadRequest, "DIGEST_INVALID"},
	} {
		if got := c.expect(test.status, test.method, test.path, ""); got.problem(t).Code != test.code || got.header.Get("Docker-Distribution-API-Version") == "" {
			t.Errorf("%s %s: %+v", test.method, test.path, got)
		}
	}
	c.expect(http.StatusNotFound, http.MethodGet, "/scans/v1/app/reports/", "")
}

func TestThirdPartyConfiguration(t *testing.T) {
	p := newPlace(t)
	p.configure("scans: {order: oldest}")
	c := p.serve()
	image := c.pushImage("layer", "v1")
	newest := c.push(report.MediaType, reportOn(t, image, "", nil, created, "2024-03-01T00:00:00Z"))
	oldest := c.push(report.MediaType, reportOn(t, image, "", nil, created, "2024-01-01T00:00:00Z"))
	undated := c.push(report.MediaType, reportOn(t, image, "", nil))
	got := c.listed("/scans/v1/app/reports/" + image.Digest.String())
	if len(got) != 3 || got[0].Digest != oldest.Digest || got[1].Digest != newest.Digest || got[2].Digest != undated.Digest {
		t.Errorf("%v", got)
	}
	for section, want := range map[string]string{
		"scans: {order: random}": `extensions.scans.order: must be newest or oldest, not "random"`,
		"scans: {sort: newest}":  "extensions.scans.sort: unknown key",
		"scans: {order: [a]}":    "extensions.scans.order: must be text, not a list",
		"scan: {}":               "extensions.scan: unknown key",
	} {
		if err := newWith("storage: inmemory\nextensions: {" + section + "}"); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", section, err, want)
		}
	}
}

// newWith is the error of New for a configuration.
func newWith(text string) error {
	config, err := registry.ParseConfig([]byte("version: 0.1\n" + text + "\n"))
	if err != nil {
		return err
	}
	r, err := registry.New(context.Background(), config, withScans()...)
	if err == nil {
		return r.Shutdown(context.Background())
	}
	return err
}

// Stored manifests of a disabled extension can be pulled, and nothing else.
func TestThirdPartyTypeOfADisabledExtension(t *testing.T) {
	p := newPlace(t)
	c := p.serve()
	image := c.pushImage("layer", "v1")
	content := reportOn(t, image, "", nil)
	path := manifestPath(c.push(report.MediaType, content).Digest.String())
	p.configure("scans: {enabled: false}")
	c = p.serve()
	if got := c.expect(http.StatusOK, http.MethodGet, path, ""); got.body != content || got.header.Get("Content-Type") != report.MediaType {
		t.Errorf("%+v", got)
	}
	refused := c.expect(http.StatusBadRequest, http.MethodPut, path, content, "Content-Type", report.MediaType).problem(t)
	if refused.fields() != "[mediaType]" || !strings.Contains(refused.Detail[0].Reason, "extensions.scans.enabled is false") {
		t.Errorf("%+v", refused)
	}
	if got := c.listed("/v2/app/referrers/" + image.Digest.String()); len(got) > 0 {
		t.Errorf("listed: %v", got)
	}
	c.expect(http.StatusNotFound, http.MethodGet, "/scans/v1/app/reports/"+image.Digest.String(), "")
}

// The collector keeps what reports need, and removes reports with their subject,
// even while the extension is disabled.
func TestThirdPartyTypeIsCollected(t *testing.T) {
	for _, section := range []string{"", "scans: {enabled: false}"} {
		p := newPlace(t)
		c := p.serve()
		image, appendix := c.pushImage("layer", "v1"), c.pushImage("layer of the appendix")
		baseline := c.push(report.MediaType, reportOn(t, v1.Descriptor{}, "", []v1.Descriptor{c.pushBlob("baseline")}))
		m := c.push(report.MediaType, reportOn(t, image, "", []v1.Descriptor{c.pushBlob("findings"), appendix},
			"com.example.scan.baseline", baseline.Digest.String()))
		lost := c.push(report.MediaType, reportOn(t, v1.Descriptor{}, "", []v1.Descriptor{c.pushBlob("lost")}))
		of := digest.FromString
		needed := []digest.Digest{
			image.Digest, of("layer"), m.Digest, of("findings"), appendix.Digest, of("layer of the appendix"), baseline.Digest, of("baseline"),
		}
		p.configure(section)
		collect := func() { p.mustExecute(registry.NewCollectCommand(withScans()), "-m", p.file) }
		collect()
		p.expectBytes(true, needed...)
		p.expectBytes(false, lost.Digest, of("lost"))
		c.expect(http.StatusOK, http.MethodGet, manifestPath(m.Digest.String()), "")

		c.push(report.MediaType, reportOn(t, v1.Descriptor{}, "", []v1.Descriptor{c.pushBlob("lost")}))
		p.configure("")
		if out, err := p.execute(registry.NewCollectCommand(nil), "-m", p.file); err == nil {
			t.Errorf("a binary without the extension collects: %s", out)
		}
		p.expectBytes(true, append(needed, lost.Digest, of("lost"))...)
		p.configure(section)
		c.expect(http.StatusAccepted, http.MethodDelete, manifestPath("v1"), "")
		collect()
		p.expectBytes(false, needed...)
	}
}

// expectBytes expects the bytes of digests to be in the tree, or not.
func (p place) expectBytes(want bool, digests ...digest.Digest) {
	p.t.Helper()
	for _, d := range digests {
		_, err := os.Stat(filepath.Join(p.root, "docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded(), "data"))
		if there := err == nil; there != want {
			p.t.Errorf("%s exists: %v, want %v", d, there, want)
		}
	}
}

func TestThirdPartyTypeInTheIndex(t *testing.T) {
	p := newPlace(t)
	c := p.serve()
	image := c.pushImage("layer", "v1")
	m := c.push(report.MediaType, reportOn(t, image, "", nil))
	weekly := c.push(report.MediaType, reportOn(t, image, "scan/weekly", nil))
	command := func(args ...string) string { return p.mustExecute(registry.NewReferrersCommand(withScans()), args...) }
	want := fmt.Sprintf("app:v1 (%s)\n├── %s\n│   └── %s\n└── scan/weekly\n    └── %s\n", image.Digest, report.MediaType, m.Digest, weekly.Digest)
	if got := command("tree", p.file, "app:v1"); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	refs := filepath.Join(p.root, "docker/registry/v2/repositories/app/_refs")
	if err := os.Rename(refs, filepath.Join(t.TempDir(), "gone")); err != nil { // while the registry may write there
		t.Fatal(err)
	}
	if out, err := p.execute(registry.NewReferrersCommand(withScans()), "verify", p.file); err == nil || !strings.Contains(out, "2 faults") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if got := command("rebuild", p.file); !strings.Contains(got, "2 links written") {
		t.Errorf("rebuild: %s", got)
	}
	if got := command("verify", p.file); !strings.Contains(got, "0 faults") {
		t.Errorf("verify: %s", got)
	}
	if got := c.listed("/scans/v1/app/reports/" + image.Digest.String()); len(got) != 2 {
		t.Errorf("listed: %v", got)
	}
}
