package config_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/internal/config"
)

// distributionFolder is where distribution's source and documents are.
func distributionFolder(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/distribution/distribution/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestUnknownKeys(t *testing.T) {
	for text, want := range map[string]string{
		"http: {adr: x}":                                                  `http.adr: unknown key, ignored; did you mean "addr"?`,
		"htp: {addr: x}":                                                  `htp: unknown key, ignored; did you mean "http"?`,
		"http: {tls: {keys: x}}":                                          `http.tls.keys: unknown key, ignored; did you mean "key"?`,
		"storage: {filesystem: {rootdir: x}}":                             `storage.filesystem.rootdir: unknown key, ignored; did you mean "rootdirectory"?`,
		"storage: {s3: {buket: x}}":                                       `storage.s3.buket: unknown key, ignored; did you mean "bucket"?`,
		"storage: {azure: {credentials: {typ: x}}}":                       `storage.azure.credentials.typ: unknown key, ignored; did you mean "type"?`,
		"storage: {inmemory: {rootdirectory: x}}":                         "storage.inmemory.rootdirectory: unknown key, ignored",
		"storage: {delete: {enabled: maybe}}":                             `storage.delete.enabled: must be true or false, not "maybe", which is ignored`,
		"storage: {delete: {enable: true}}":                               `storage.delete.enable: unknown key, ignored; did you mean "enabled"?`,
		"storage: {cache: {blobdescriptor: memory}}":                      `storage.cache.blobdescriptor: must be redis or inmemory, not "memory", which is ignored`,
		"storage: {maintenance: {readonly: {enable: true}}}":              `storage.maintenance.readonly.enable: unknown key, ignored; did you mean "enabled"?`,
		"auth: {token: {relm: x}}":                                        `auth.token.relm: unknown key, ignored; did you mean "realm"?`,
		"notifications: {endpoints: [{name: a}, {ur: b}]}":                `notifications.endpoints[1].ur: unknown key, ignored; did you mean "url"?`,
		"middleware: {storag: []}":                                        `middleware.storag: unknown key, ignored; did you mean "storage"?`,
		"middleware: {storage: [{name: redirect, option: {}}]}":           `middleware.storage[0].option: unknown key, ignored; did you mean "options"?`,
		"middleware: {storage: [{name: redirect, options: {baseur: x}}]}": `middleware.storage[0].options.baseur: unknown key, ignored; did you mean "baseurl"?`,
		"redis: {adrs: [x]}":                                              `redis.adrs: unknown key, ignored; did you mean "addrs"?`,
		"health: {http: [{statuscodes: 1}]}":                              `health.http[0].statuscodes: unknown key, ignored; did you mean "statuscode"?`,
		"validation: {manifests: {url: {}}}":                              `validation.manifests.url: unknown key, ignored; did you mean "urls"?`,
		"proxy: {exec: {comand: x}}":                                      `proxy.exec.comand: unknown key, ignored; did you mean "command"?`,
		"http: {headers: {X-Any: [a]}}":                                   "",
		"log: {fields: {any: thing}}":                                     "",
		"storage: {other: {any: thing}}":                                  "",
		"auth: {other: {any: thing}}":                                     "",
		"middleware: {registry: [{name: a, options: {any: b}}]}":          "",
		"extensions: {any: {thing: x}}":                                   "",
		"storage: inmemory":                                               "",
		"health: {http: [{headers: {A: [b]}, statuscode: 200}]}":          "",
		"x-http: &x {addr: a}\nhttp: {<<: *x, net: tcp}":                  "",
		"http: {x-addr: a}":                                               `http.x-addr: unknown key, ignored; did you mean "addr"?`,
		"x: &x {addr: a}\nhttp: {<<: *x, net: tcp}":                       "x: unknown key, ignored",
	} {
		if got := strings.Join(config.Warnings([]byte(text)), "\n"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// What is given twice is a warning in the sections of distribution, and an error in ours.
func TestRepeatedKeys(t *testing.T) {
	const warning, refused = ": given more than once, the last one takes precedence", ": given more than once"
	for text, want := range map[string]struct{ warnings, err string }{
		"http: {addr: a, addr: b}":                                       {warnings: "http.addr" + warning},
		"http: {addr: a}\nhttp: {net: tcp}":                              {warnings: "http" + warning},
		"storage: inmemory\nlog: {fields: {a: b, a: c, a: d}}":           {warnings: "log.fields.a" + warning},
		"notifications: {endpoints: [{name: a}, {name: b, name: c}]}":    {warnings: "notifications.endpoints[1].name" + warning},
		"x-a: &a {addr: a}\nx-b: &b {net: tcp}\nhttp: {<<: *a, <<: *b}":  {},
		"x-a: &a {addr: a, net: tcp}\nhttp: {<<: *a, net: unix}":         {},
		"extensions: {a: {rules: []}, b: {rules: []}}":                   {},
		"extensions: {a: {b: 1}, a: {c: 1}}":                             {err: "extensions.a" + refused},
		"extensions: {a: {}}\nextensions: {b: {}}":                       {err: "extensions" + refused},
		"extensions: {a: {rules: [{}, {keep: {newest: 1, newest: 2}}]}}": {err: "extensions.a.rules[1].keep.newest" + refused},
		"extensions: {a: {b: 1, b: 2}, c: {1: 2, '1': 3}, d: 7}":         {err: "extensions.a.b" + refused + "\nextensions.c.1" + refused + "\nextensions.d: must be a mapping, not int"},
		"extensions: {a: 1, a: {b: {}}}\nhttp: {addr: a, addr: a}":       {"http.addr" + warning, "extensions.a" + refused},
		"x-keep: &k {newest: 1, newest: 2}\nextensions: {a: {keep: *k}}": {"x-keep.newest" + warning, "extensions.a.keep.newest" + refused},
	} {
		expectRepeated(t, text, []byte(text), want.warnings, want.err)
	}
}

// expectRepeated checks what is said of a file, where given is what may be wrong.
func expectRepeated(t *testing.T, given string, file []byte, warnings, refused string) {
	t.Helper()
	if got := strings.Join(config.Warnings(file), "\n"); got != warnings {
		t.Errorf("%s: warnings %q, want %q", given, got, warnings)
	}
	got := ""
	if _, err := config.Sections(file); err != nil {
		got = err.Error()
	}
	if got != refused {
		t.Errorf("%s: error %q, want %q", given, got, refused)
	}
}

func TestRepeatedKeysInVariables(t *testing.T) {
	const warning, refused = ": given more than once, the last one takes precedence", ": given more than once"
	for variable, want := range map[string]struct{ warnings, err string }{
		"REGISTRY_LOG={fields: {a: b, a: c}}":                                          {warnings: "REGISTRY_LOG: value.fields.a" + warning},
		"REGISTRY_NOTIFICATIONS_ENDPOINTS=- {name: a}\n- {name: b, name: c}":           {warnings: "REGISTRY_NOTIFICATIONS_ENDPOINTS: value[1].name" + warning},
		"REGISTRY_EXTENSIONS_RETENTION={rules: [{}, {newest: 1, newest: 2}]}":          {err: "REGISTRY_EXTENSIONS_RETENTION: value.rules[1].newest" + refused},
		"REGISTRY_EXTENSIONS=a: {b: 1}\na: {c: 1}":                                     {err: "REGISTRY_EXTENSIONS: value.a" + refused},
		"REGISTRY_EXTENSIONS_RETENTION={rules: [{newest: 1}, {newest: 2}], a: {a: 1}}": {},
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
		expectRepeated(t, variable, nil, want.warnings, want.err)
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	for variable, want := range map[string]string{
		"REGISTRY_HTTP_ADR=x":                                       `REGISTRY_HTTP_ADR: unknown variable, ignored; did you mean "ADDR"?`,
		"REGISTRY_HTP_ADDR=x":                                       `REGISTRY_HTP_ADDR: unknown variable, ignored; did you mean "HTTP"?`,
		"REGISTRY_STORAGE_FILESYSTEM_ROOTDIR=x":                     `REGISTRY_STORAGE_FILESYSTEM_ROOTDIR: storage.filesystem.rootdir: unknown key, ignored; did you mean "rootdirectory"?`,
		"REGISTRY_STORAGE_DELETE_ENABLED=maybe":                     `REGISTRY_STORAGE_DELETE_ENABLED: storage.delete.enabled: must be true or false, not "maybe", which is ignored`,
		"REGISTRY_HTTP={adr: x}":                                    `REGISTRY_HTTP: http.adr: unknown key, ignored; did you mean "addr"?`,
		"REGISTRY_NOTIFICATIONS_ENDPOINTS_0_UR=x":                   `REGISTRY_NOTIFICATIONS_ENDPOINTS_0_UR: unknown variable, ignored; did you mean "URL"?`,
		"REGISTRY_CONFIGURATION_PATH=x":                             "",
		"REGISTRY_HTTP_ADDR=x":                                      "",
		"REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0=x":                   "REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0: ignored, because no element of a list can be set alone; set all of REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS instead",
		"REGISTRY_HTTP_HEADERS_X_0=a":                               "REGISTRY_HTTP_HEADERS_X_0: ignored, because no element of a list can be set alone; set all of REGISTRY_HTTP_HEADERS_X instead",
		"REGISTRY_Http_ADDR=x":                                      "REGISTRY_Http_ADDR: unknown variable, ignored",
		"REGISTRY_EXTENSIONS_RETENTION=":                            "REGISTRY_EXTENSIONS_RETENTION: is empty, so that nothing counts of what the file has there",
		"REGISTRY_HTTP_HEADERS_X-ANY=[a]":                           "",
		"REGISTRY_LOG_FIELDS_ANY=x":                                 "",
		"REGISTRY_LOGLEVEL=debug":                                   "",
		"REGISTRY_STORAGE=inmemory":                                 "",
		"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/x":              "",
		"REGISTRY_STORAGE_MAINTENANCE_READONLY={enabled: true}":     "",
		"REGISTRY_REDIS_ADDRS=[a]":                                  "",
		"REGISTRY_REDIS_OPTIONS_ADDRS=[a]":                          "",
		"REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL=x":                  "",
		"REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES=true": "",
		"REGISTRY_PROXY_TTL=1h":                                     "",
		"REGISTRY_EXTENSIONS_ANY_THING=x":                           "",
		"REGISTRY_AUTH_HTPASSWD_REALM=x":                            "",
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
		if got := strings.Join(config.Warnings(nil), "\n"); got != want {
			t.Errorf("%s: %q, want %q", variable, got, want)
		}
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

// A variable for a key inside a mapping of the file has an effect, or there is a warning.
func TestVariablesBelowMappingsOfTheFile(t *testing.T) {
	file := []byte(`version: "0.1"
storage: {inmemory: {}, maintenance: {readonly: {enabled: false}}}
middleware: {storage: [{name: any, options: {baseurl: "https://a", more: {of: it}}}]}
http: {headers: {X: [a]}}
extensions: {any: {plain: 1, list: [{a: 1, texts: [a]}], below: {up: {ttl: 1s}}}}`)
	parse := func() *config.Config {
		parsed, err := config.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	before := parse()
	if len(before.Warnings) > 0 {
		t.Fatalf("without variables: %q", before.Warnings)
	}
	const part, element = "the file has a value there, of which no part can be set", "no element of a list can be set alone"
	for variable, reason := range map[string]string{
		"EXTENSIONS_ANY_PLAIN=2":                      "",
		"EXTENSIONS_ANY_BELOW_UP_TTL=2s":              "",
		"EXTENSIONS_ANY_BELOW_NEW_TTL=2s":             "",
		"EXTENSIONS_ANY_LIST_0_A=2":                   "",
		"EXTENSIONS_ANY_PLAIN_MORE=2":                 part + "; set all of REGISTRY_EXTENSIONS_ANY_PLAIN instead",
		"EXTENSIONS_ANY_LIST_0_TEXTS_0=b":             element + "; set all of REGISTRY_EXTENSIONS_ANY_LIST_0_TEXTS instead",
		"EXTENSIONS_ANY_LIST_1_A=b":                   element + "; set all of REGISTRY_EXTENSIONS_ANY_LIST instead",
		"EXTENSIONS_ANY_LIST_0={a: 2}":                element + "; set all of REGISTRY_EXTENSIONS_ANY_LIST instead",
		"EXTENSIONS_ANY_LIST_-1_A=2":                  element + "; set all of REGISTRY_EXTENSIONS_ANY_LIST instead",
		"NOTIFICATIONS_ENDPOINTS_0={name: a}":         element + "; set all of REGISTRY_NOTIFICATIONS_ENDPOINTS instead",
		"STORAGE_MAINTENANCE_READONLY_ENABLED=true":   part + "; set all of REGISTRY_STORAGE_MAINTENANCE_READONLY instead",
		"STORAGE_MAINTENANCE_READONLY={enabled: on}":  "",
		"MIDDLEWARE_STORAGE_0_OPTIONS_MORE_OF=that":   part + "; set all of REGISTRY_MIDDLEWARE_STORAGE_0_OPTIONS_MORE instead",
		"MIDDLEWARE_STORAGE_0_OPTIONS_BASEURL_X=that": part + "; set all of REGISTRY_MIDDLEWARE_STORAGE_0_OPTIONS_BASEURL instead",
		"HTTP_HEADERS_X=[b]":                          "",
	} {
		name, value, _ := strings.Cut("REGISTRY_"+variable, "=")
		t.Setenv(name, value)
		got, err := config.Parse(file)
		switch {
		case err != nil: // in the section of an extension, or where the parser panics
			if text := name + ": " + reason; err.Error() != text {
				t.Errorf("%s: error %q, want %q", name, err, text)
			}
		case reason != "":
			if want := name + ": ignored, because " + reason; !slices.Equal(got.Warnings, []string{want}) {
				t.Errorf("%s: %q, want %q", name, got.Warnings, want)
			}
			fallthrough
		default:
			changes := !reflect.DeepEqual([]any{got.Stock, got.Extensions}, []any{before.Stock, before.Extensions})
			if changes != (reason == "") || reason != "" && strings.HasPrefix(variable, "EXTENSIONS_") {
				t.Errorf("%s changes something: %t", name, changes)
			}
		}
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	if got := config.Warnings(append(file, "\n---\nextensions: {}"...)); !slices.Equal(got, []string{"the file has a second document, which is ignored"}) {
		t.Errorf("a second document: %q", got)
	}
}

// Whatever distribution has in its examples, tests and documents is known.
func TestDocumentedKeys(t *testing.T) {
	folder := distributionFolder(t)
	checked := 0
	check := func(name, text string) {
		checked++
		for _, warning := range config.Warnings([]byte(text)) {
			if !strings.Contains(warning, "given more than once") { // which some are
				t.Errorf("%s: %s", name, warning)
			}
		}
	}
	for _, pattern := range []string{"cmd/registry/*.yml", "tests/conf*.yml", "docs/content/recipes/*/config.yml"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, %v", pattern, files, err)
		}
		for _, file := range files {
			check(file, read(t, file))
		}
	}
	sections := regexp.MustCompile(`^(version|log|loglevel|storage|auth|middleware|catalog|tags|http|notifications|redis|health|proxy|validation|policy):`)
	for _, block := range regexp.MustCompile("(?ms)^```ya?ml\n(.*?)^```$").FindAllStringSubmatch(read(t, filepath.Join(folder, "docs/content/about/configuration.md")), -1) {
		if sections.MatchString(block[1]) {
			check("configuration.md", block[1])
		}
	}
	if checked < 20 {
		t.Errorf("only %d configurations were found", checked)
	}
}

// Every option that the source of distribution's drivers and backends reads is known.
func TestOptionsOfDrivers(t *testing.T) {
	reads := regexp.MustCompile(`(?:(?:parameters|options)\["(\w+)"\]|getParameterAs\w+(?:\[\w+\])?\(parameters, "(\w+)"|getStringOption\("(\w+)"|mapstructure:"(\w+)")`)
	ignored := []string{"overrideDummyHash", "type", "clientid", "tenantid", "secret"} // for tests, and in azure.credentials
	for _, test := range []struct{ sources, at string }{
		{"storage/driver/filesystem", "storage: {filesystem: {%: x}}"},
		{"storage/driver/s3-aws", "storage: {s3: {%: x}}"},
		{"storage/driver/gcs", "storage: {gcs: {%: x}}"},
		{"storage/driver/azure", "storage: {azure: {%: x}}"},
		{"storage/driver/middleware/cloudfront", "middleware: {storage: [{name: cloudfront, options: {%: x}}]}"},
		{"storage/driver/middleware/redirect", "middleware: {storage: [{name: redirect, options: {%: x}}]}"},
		{"storage/driver/middleware/rewrite", "middleware: {storage: [{name: rewrite, options: {%: x}}]}"},
		{"auth/htpasswd", "auth: {htpasswd: {%: x}}"},
		{"auth/silly", "auth: {silly: {%: x}}"},
		{"auth/token", "auth: {token: {%: x}}"},
	} {
		files, err := filepath.Glob(filepath.Join(distributionFolder(t), "registry", test.sources, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, match := range reads.FindAllStringSubmatch(read(t, file), -1) {
				key := strings.Join(match[1:], "")
				if slices.Contains(ignored, key) {
					continue
				}
				found++
				if warnings := config.Warnings([]byte(strings.ReplaceAll(test.at, "%", key))); len(warnings) > 0 {
					t.Errorf("%s reads %s: %q", file, key, warnings)
				}
			}
		}
		if found == 0 {
			t.Errorf("%s reads no options", test.sources)
		}
	}
}

// Secrets are not printed where their keys are misspelled, or their URLs have no scheme.
func TestSecretsInUnexpectedPlaces(t *testing.T) {
	for _, text := range []string{
		"storage: {s3: {region: r, bucket: b, acceskey: SECRET}}", "storage: {inmemory: {pwd: SECRET}}",
		"storage: inmemory\nredis: {addrs: ['u:SECRET@h:1']}", "storage: inmemory\nproxy: {remoteurl: 'u:SECRET@h'}",
		"storage: inmemory\nproxy: {remoteurl: '//u:SECRET@h'}", "storage: inmemory\nproxy: {remoteurl: 'https://SECRET@h/a'}",
	} {
		c, err := config.Parse([]byte("version: 0.1\n" + text + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := c.YAML(); err != nil || strings.Contains(string(out), "SECRET") {
			t.Errorf("%s: %v, prints\n%s", text, err, out)
		}
	}
}
