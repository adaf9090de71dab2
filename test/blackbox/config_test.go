package blackbox_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestWithoutConfiguration(t *testing.T) {
	root := t.TempDir()
	r := harness.Start(t, harness.Options{
		Driver: harness.InMemory, Args: []string{"serve"},
		Env: []string{"REGISTRY_HTTP_ADDR=127.0.0.1:0", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=" + root},
	})
	announcement := r.AwaitLog("no configuration given")
	if !strings.Contains(announcement, "127.0.0.1:0") || !strings.Contains(announcement, root) {
		t.Errorf("the announcement of address and storage is %q", announcement)
	}
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	m := harness.ORASArtifact("a/b").To(image)
	c.MustPush("app", "", m)
	sameDigests(t, "referrers", c.Referrers(harness.Draft1, "app", image.Digest), m.Digest())
	c.DeleteManifest("app", m.Digest())
	if entries, err := os.ReadDir(filepath.Join(root, "docker")); err != nil || len(entries) == 0 {
		t.Errorf("nothing is stored in %s: %v", root, err)
	}
}

func TestEnvironmentOverridesConfiguration(t *testing.T) {
	off := harness.Start(t, harness.Options{Driver: harness.InMemory, Env: []string{"REGISTRY_EXTENSIONS_OCI_ENABLED=false"}})
	image := off.Client().PushImage("app", "v1", "layer")
	off.Client().Get(harness.OCI.Path("app", image.Digest)).Expect(http.StatusNotFound)
	off.Client().Get(harness.Draft1.Path("app", image.Digest)).Expect(http.StatusOK)

	path := harness.Start(t, harness.Options{Driver: harness.InMemory})
	r := harness.Start(t, harness.Options{
		Driver: harness.InMemory, Args: []string{"serve"}, Env: []string{"REGISTRY_CONFIGURATION_PATH=" + path.Config},
	})
	r.Client().Get("/v2/").Expect(http.StatusOK)
}

func TestExtensionsThatAreDisabled(t *testing.T) {
	for _, test := range []struct {
		config    string
		oras, oci bool
	}{
		{"extensions: {oras: {enabled: false}}", false, true},
		{"extensions: {oci: {enabled: false}}", true, false},
		{"extensions: {oras: {enabled: false}, oci: {enabled: false}}", false, false},
		{"extensions: {oras: {artifacts: [referrers]}}", true, true},
		{"extensions: {oras: {artifacts: [referrers]}, oci: {ext: [discover]}}", true, true},
		{"extensions: {}", true, true},
	} {
		t.Run(test.config, func(t *testing.T) {
			c := harness.Start(t, harness.Options{Driver: harness.InMemory, Config: test.config}).Client()
			image := c.PushImage("app", "v1", "layer")
			expect := func(on bool, path string) {
				t.Helper()
				if resp := c.Get(path, harness.AcceptAll); on != (resp.Status == http.StatusOK) {
					t.Errorf("%s", resp)
				}
			}
			expect(test.oras, harness.Draft1.Path("app", image.Digest))
			expect(test.oras, harness.RC.Path("app", image.Digest))
			expect(test.oras, "/oras/artifacts/v1/app/manifests/v1")
			expect(test.oci, harness.OCI.Path("app", image.Digest))
			expect(test.oci, "/v2/_oci/ext/discover")
			for on, m := range map[*bool]harness.Manifest{&test.oras: harness.ORASArtifact("a/b"), &test.oci: harness.OCIArtifact("a/b")} {
				if resp := c.Push("app", "", m); *on != (resp.Status == http.StatusCreated) {
					t.Errorf("%s", resp)
				}
			}
		})
	}
}

// A broken configuration is one clear line and exit status 1.
func TestBrokenConfigurations(t *testing.T) {
	const base = "version: 0.1\nstorage: inmemory\nhttp: {addr: '127.0.0.1:0'}\n"
	for name, test := range map[string]struct{ config, want string }{
		"unknown extension":     {base + "extensions: {other: {}}", "extensions.other"},
		"unknown key":           {base + "extensions: {oras: {enable: true}}", "extensions.oras.enable"},
		"unknown artifact key":  {base + "extensions: {oras: {artifacts: [discover]}}", "extensions.oras.artifacts[0]"},
		"wrong type":            {base + "extensions: {oci: {enabled: maybe}}", "extensions.oci.enabled"},
		"not a mapping":         {base + "extensions: [oras]", "extensions"},
		"negative":              {base + "extensions: {referrers: {cachesize: -1}}", "extensions.referrers.cachesize"},
		"no version":            {"storage: inmemory", "version"},
		"no storage":            {"version: 0.1", "storage"},
		"two drivers":           {"version: 0.1\nstorage: {inmemory: {}, filesystem: {}}", "storage"},
		"unknown driver":        {"version: 0.1\nstorage: {floppy: {}}", "floppy"},
		"unknown access":        {base + "auth: {other: {}}", "other"},
		"htpasswd without path": {base + "auth: {htpasswd: {realm: x}}", "path"},
		"not YAML":              {"version: [", "yaml"},
		"empty":                 {"", "version"},
		"redis without address": {"version: 0.1\nstorage: {inmemory: {}, cache: {blobdescriptor: redis}}", "redis"},
		"unknown middleware":    {base + "middleware: {registry: [{name: other}]}", "other"},
		"readonly no mapping":   {"version: 0.1\nstorage: {inmemory: {}, maintenance: {readonly: true}}", "readonly"},
		"address in use":        {"version: 0.1\nstorage: inmemory\nhttp: {addr: 'ADDR'}", "address already in use"},
		"no certificate":        {base[:len(base)-2] + ", tls: {certificate: /nowhere/cert.pem, key: /nowhere/key.pem}}", "/nowhere/cert.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.yml")
			config := test.config
			if strings.Contains(config, "ADDR") {
				config = strings.ReplaceAll(config, "ADDR", harness.Start(t, harness.Options{Driver: harness.InMemory}).Addr)
			}
			if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			result := harness.Run(t, "serve", path)
			if result.Exit != 1 {
				t.Errorf("exit status %d", result.Exit)
			}
			if strings.Contains(result.Stderr+result.Stdout, "goroutine ") || strings.Contains(result.Stderr, "Usage:") {
				t.Errorf("a panic or a usage text instead of one line:\n%s%s", result.Stdout, result.Stderr)
			}
			var said []string // beside what distribution logs until then
			for line := range strings.Lines(result.Stderr) {
				if strings.HasPrefix(line, "registry: ") {
					said = append(said, strings.ToLower(line))
				}
			}
			if len(said) != 1 || !strings.Contains(said[0], strings.ToLower(test.want)) {
				t.Errorf("not one line that says %q:\n%s", test.want, result.Stderr)
			}
		})
	}
}
