package blackbox_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// configuration writes a configuration file.
func configuration(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A key or variable that means nothing is a warning at start, and the registry serves.
func TestUnknownKeysAreWarnings(t *testing.T) {
	r := harness.Start(t, harness.Options{
		Config: "{http: {adr: x}, storage: {filesystem: {rootdir: x}}, health: {storage: {}}}",
		Env:    []string{"REGISTRY_HTTP_ADR=x", "REGISTRY_CONFIGURATION_PATH=/nowhere", "REGISTRY_LOG_FIELDS_SITE=here"},
	})
	r.Client().Get("/v2/").Expect(http.StatusOK)
	for _, want := range []string{"http.adr: unknown key", "storage.filesystem.rootdir: unknown key", "health.storage: unknown key", "REGISTRY_HTTP_ADR: unknown variable"} {
		if line := r.AwaitLog(want); !strings.Contains(line, "level=warning") {
			t.Errorf("not a warning: %s", line)
		}
	}
	log := r.Log()
	if strings.Count(log, "REGISTRY_HTTP_ADR") != 1 || strings.Contains(log, "REGISTRY_CONFIGURATION_PATH") || strings.Contains(log, "REGISTRY_LOG_FIELDS_SITE") {
		t.Errorf("the log has other warnings:\n%s", log)
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	good := configuration(t, "version: 0.1\nstorage: {filesystem: {rootdirectory: "+root+"}}\nhttp: {addr: ':5000'}\n")
	result := harness.RunWith(t, []string{"REGISTRY_LOG_LEVEL=warn"}, "config", "check", good)
	if result.Exit != 0 || result.Stderr != "" {
		t.Errorf("exit code %d: %s", result.Exit, result.Stderr)
	}
	for _, want := range []string{"rootdirectory: " + root, "addr: :5000", "level: warn", "draintimeout: ", "cachesize: "} {
		if !strings.Contains(result.Stdout, want) {
			t.Errorf("%q is not in\n%s", want, result.Stdout)
		}
	}
	// What is in effect is a configuration, and has the same effect.
	if again := harness.Run(t, "config", "check", configuration(t, result.Stdout)); again.Exit != 0 || again.Stdout != result.Stdout {
		t.Errorf("exit code %d: %s\n%s\nwant\n%s", again.Exit, again.Stderr, again.Stdout, result.Stdout)
	}
	bad := configuration(t, "version: 0.1\nstorage: {filesystem: {rootdir: x}, delete: {enabled: maybe}}\nhttp: {adr: x, host: '%'}\nextensions: {orass: {}, oci: {enable: true}, mirror: {upstreams: {ghcr.io: {url: 'https://h', pasword: hush}}}}\n")
	result = harness.Run(t, "config", "check", bad)
	if result.Exit != 1 || !strings.Contains(result.Stdout, "rootdir: REDACTED") || !strings.Contains(result.Stdout, "pasword: REDACTED") {
		t.Errorf("exit code %d\n%s", result.Exit, result.Stdout)
	}
	for _, want := range []string{
		"warning: storage.filesystem.rootdir: ", "warning: storage.delete.enabled: ", "warning: http.adr: ",
		"error: http.host: ", "error: extensions.orass: ", "error: extensions.oci.enable: ",
		"error: extensions.mirror.upstreams[ghcr.io].pasword: ", "found 7 problems",
	} {
		if !strings.Contains(result.Stderr, want) {
			t.Errorf("%q is not in\n%s", want, result.Stderr)
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("something was written: %v, %v", entries, err)
	}
}

// One run finds every mistake.
func TestConfigCheckFindsAll(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config string
		want   []string
	}{
		"values and keys": {
			`
storage: {inmemory: {}, maintenance: {readonly: true, uploadpurging: 7}, tag: {concurrencylimit: many}, redirect: {disable: maybe}}
log: {formatter: loud, levl: info}
http: {adr: x, addr: nowhere, net: udp, host: '%', tls: {certificate: /nowhere, key: /nowhere, minimumtls: tls9, ciphersuites: [a, b]}}
auth: {other: {}}
middleware: {registry: [{name: other}], storage: [{name: other}]}
validation: {manifests: {urls: {allow: ['(']}}}
extensions:
  orass: {}
  oras: {enabled: maybe, artifacts: [referrers, 3, sboms], artefacts: []}
  oci: {enabled: maybe, orasartifacts: 12, ext: 3, enable: true}
  referrers: {cachesize: 0, concurrency: big, wait: soon, background: 3, maxannotations: -1, cache: 1}`,
			[]string{
				"warning: http.adr", "warning: log.levl",
				"error: auth", "error: extensions.oci.enable", "error: extensions.oci.enabled", "error: extensions.oci.ext", "error: extensions.oci.orasartifacts",
				"error: extensions.oras.artefacts", "error: extensions.oras.artifacts[1]", "error: extensions.oras.artifacts[2]", "error: extensions.oras.enabled", "error: extensions.orass",
				"error: extensions.referrers.background", "error: extensions.referrers.cache", "error: extensions.referrers.cachesize", "error: extensions.referrers.concurrency",
				"error: extensions.referrers.maxannotations", "error: extensions.referrers.wait",
				"error: http.addr", "error: http.host", "error: http.net", "error: http.tls.certificate", "error: http.tls.ciphersuites[0]", "error: http.tls.ciphersuites[1]",
				"error: http.tls.minimumtls", "error: log.formatter", "error: middleware.registry", "error: middleware.storage",
				"error: storage.maintenance.readonly", "error: storage.maintenance.uploadpurging", "error: storage.redirect", "error: storage.tag.concurrencylimit",
				"error: validation.manifests.urls.allow",
			},
		},
		"storage driver": {
			"storage: {floppy: {}}\nauth: {other: {}}",
			[]string{"error: auth", "error: storage.floppy"},
		},
		"form": {
			"storage: inmemory\nhttp: {adr: x}\nextensions: {oras: 3, oci: [], referrers: {cachesize: big}}",
			[]string{"warning: http.adr", "error: extensions.oci", "error: extensions.oras", "error: extensions.referrers.cachesize"},
		},
		"keys that are given twice": {
			"storage: inmemory\nhttp: {addr: ':0', addr: ':0'}\nextensions: {retention: {immutable: []}, retention: {rules: []}, referrers: {cachesize: 1.5}}",
			[]string{"warning: http.addr", "error: extensions.retention", "error: extensions.referrers.cachesize"},
		},
		"what distribution cannot parse": {
			"storage: inmemory\nlog: {level: loud}\nextensions: {oci: {enabled: maybe}}",
			[]string{"error: configuration CONFIG", "error: extensions.oci.enabled"},
		},
		"a mirror that stores nothing": {
			"storage: {inmemory: {}, maintenance: {readonly: {enabled: true}}}\nextensions: {mirror: {upstreams: {h: {url: 'https://h'}}}, oci: {enable: true}}",
			[]string{"error: extensions.mirror.upstreams", "error: extensions.oci.enable"},
		},
		"a mirror and a cache": {
			"storage: inmemory\nproxy: {remoteurl: 'https://h'}\nextensions: {mirror: {upstreams: {h: {url: 'https://h'}}}}",
			[]string{"error: extensions.mirror.upstreams"},
		},
		"holders of anchors": {
			"x-switch: &on {enabled: true}\nx-http: &http {addr: ':0'}\nstorage: {inmemory: {}, delete: *on}\nhttp: {<<: *http, net: tcp}",
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := configuration(t, "version: 0.1\n"+test.config+"\n")
			result := harness.Run(t, "config", "check", path)
			var found []string
			for line := range strings.Lines(strings.ReplaceAll(result.Stderr, path, "CONFIG")) {
				if kind, rest, _ := strings.Cut(line, ": "); kind != "registry" {
					key, _, _ := strings.Cut(rest, ": ")
					found = append(found, kind+": "+key)
				}
			}
			slices.Sort(found)
			slices.Sort(test.want)
			if !slices.Equal(found, test.want) || (result.Exit == 0) != (len(test.want) == 0) {
				t.Errorf("exit code %d, found\n%s\nwant\n%s\n%s", result.Exit, strings.Join(found, "\n"), strings.Join(test.want, "\n"), result.Stderr)
			}
		})
	}
}

func TestConfigCheckShowsNoSecrets(t *testing.T) {
	t.Parallel()
	result := harness.RunWith(t, []string{"REGISTRY_REDIS_SENTINELPASSWORD=hidden-0"}, "config", "check", configuration(t, `
version: 0.1
log: {hooks: [{type: mail, options: {smtp: {password: hidden-1}}}]}
storage: {s3: {bucket: seen, region: us-east-1, accesskey: hidden-2, secretkey: hidden-3, regionendpoint: "https://hidden-4:hidden/5@seen.example?sig=hidden-6"}}
http: {secret: hidden-7, addr: ":0", tls: {letsencrypt: {email: seen@example.com}}}
redis: {password: hidden-8, addrs: ["redis://hidden-9@seen:1"]}
proxy: {remoteurl: "https://hidden-a@seen.example", username: seen, password: hidden-b}
notifications: {endpoints: [{name: seen, url: "https://seen.example/?token=hidden-c", headers: {Authorization: [hidden-d]}}]}
`))
	if result.Exit != 0 || strings.Contains(result.Stdout+result.Stderr, "hidden") || strings.Count(result.Stdout, "seen") < 8 {
		t.Errorf("exit code %d\n%s%s", result.Exit, result.Stdout, result.Stderr)
	}
	gcs := configuration(t, "version: 0.1\nstorage: {gcs: {bucket: seen, credentials: {type: service_account, private_key: hidden, private_key_id: hidden, client_email: hidden}}}\n")
	if result := harness.Run(t, "config", "check", gcs); strings.Contains(result.Stdout+result.Stderr, "hidden") || !strings.Contains(result.Stdout, "service_account") {
		t.Errorf("%s%s", result.Stdout, result.Stderr)
	}
}

// Every command refuses what serve refuses, with the same words, before it does anything.
func TestCommandsRefuseWhatServeRefuses(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	storage := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + root + "}, %}\nhttp: {addr: '127.0.0.1:0'}\n"
	base := strings.ReplaceAll(storage, ", %", "")
	commands := [][]string{
		{"serve"}, {"garbage-collect"}, {"referrers", "verify"}, {"referrers", "rebuild"}, {"referrers", "tree"}, {"config", "check"},
	}
	for name, text := range map[string]string{
		"extensions.orass":                  base + "extensions: {orass: {}}",
		"extensions.oci":                    base + "extensions: {oci: {enabled: true}, oci: {}}",
		"log.formatter":                     base + "log: {formatter: loud}",
		"auth":                              base + "auth: {other: {}}",
		"middleware.registry":               base + "middleware: {registry: [{name: other}]}",
		"http.host":                         base[:len(base)-2] + ", host: '%'}",
		"validation.manifests.urls.allow":   base + "validation: {manifests: {urls: {allow: ['(']}}}",
		"storage.maintenance.readonly":      strings.ReplaceAll(storage, "%", "maintenance: {readonly: true}"),
		"storage.maintenance.uploadpurging": strings.ReplaceAll(storage, "%", "maintenance: {uploadpurging: {enabled: true}}"),
		"storage.cache.blobdescriptor":      strings.ReplaceAll(storage, "%", "cache: {blobdescriptor: redis}"),
		"storage.tag.concurrencylimit":      strings.ReplaceAll(storage, "%", "tag: {concurrencylimit: many}"),
	} {
		path := configuration(t, text)
		for _, command := range commands {
			args := append(slices.Clone(command), path)
			if slices.Contains(command, "tree") {
				args = append(args, "app")
			}
			result := harness.Run(t, args...)
			if result.Exit != 1 || !strings.Contains(result.Stderr, name+":") {
				t.Errorf("registry %s: exit code %d, %q, want one about %s", strings.Join(command, " "), result.Exit, result.Stderr, name)
			}
		}
	}
	// Files that only serve needs need not be where a command runs.
	missing := configuration(t, base+"auth: {htpasswd: {realm: x, path: "+root+"/passwords}}\nmiddleware: {storage: [{name: cloudfront, options: {baseurl: 'https://x', keypairid: x, privatekey: /nowhere}}]}\n")
	if result := harness.Run(t, "garbage-collect", missing); result.Exit != 0 {
		t.Errorf("with files that are elsewhere: %s", result.Stderr)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("something was written: %v, %v", entries, err)
	}
}
