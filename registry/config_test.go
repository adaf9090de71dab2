package registry

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/internal/config"
)

const minimal = "version: 0.1\nstorage: inmemory\n"

func configured(text string) error {
	config, err := config.Parse([]byte(text))
	if err != nil {
		return err
	}
	_, err = extend(config, []extensions.Extension{oras.New(), oci.New()})
	return err
}

// The configuration files that come with distribution mean to us what they mean
// to it.
func TestStockConfigurations(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/distribution/distribution/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "cmd", "registry", "*.yml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("distribution's configuration files: %v, %v", files, err)
	}
	for i, text := range []string{"loglevel: warn", "log: {level: error}\nloglevel: warn", "catalog: {maxentries: 7}\ntags: {maxtags: 8}", "catalog: {maxentries: -7}"} {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.yml", i))
		if err := os.WriteFile(file, []byte(minimal+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := configuration.Parse(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.Load([]string{file})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !reflect.DeepEqual(got.Stock, want) {
			t.Errorf("%s: %+v, want %+v", file, got.Stock, want)
		}
	}
}

func TestExtensionsSection(t *testing.T) {
	for name, test := range map[string]struct{ section, wrong string }{
		"absent":                {"", ""},
		"empty":                 {"extensions:", ""},
		"the fork's form":       {"extensions: {oras: {artifacts: [referrers]}, oci: {ext: [discover]}}", ""},
		"all keys":              {"extensions: {oras: {enabled: false}, oci: {enabled: true}, referrers: {cachesize: 1, concurrency: 2, wait: 3s, background: false, maxannotations: 4}}", ""},
		"unknown extension":     {"extensions: {orass: {}}", "extensions.orass: unknown key"},
		"unknown key":           {"extensions: {oras: {artefacts: []}}", "extensions.oras.artefacts: unknown key"},
		"unknown key of ours":   {"extensions: {referrers: {cache: 1}}", "extensions.referrers.cache: unknown key"},
		"unknown list entry":    {"extensions: {oras: {artifacts: [sboms]}}", `extensions.oras.artifacts[0]: "sboms" is unknown`},
		"no mapping":            {"extensions: [oras]", "extensions: must be a mapping"},
		"no mapping inside":     {"extensions: {oras: true}", "extensions.oras: must be a mapping"},
		"no truth value":        {"extensions: {oci: {enabled: maybe}}", "extensions.oci.enabled: must be true or false"},
		"no number":             {"extensions: {referrers: {cachesize: big}}", "extensions.referrers.cachesize: must be a whole number"},
		"too small":             {"extensions: {referrers: {concurrency: 0}}", "extensions.referrers.concurrency: must be at least 1"},
		"no duration":           {"extensions: {referrers: {wait: soon}}", "extensions.referrers.wait: must be a duration"},
		"number for a duration": {"extensions: {referrers: {wait: 10}}", "extensions.referrers.wait: must be a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			err := configured(minimal + test.section)
			if test.wrong == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
				t.Errorf("error %v, want %q", err, test.wrong)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("REGISTRY_EXTENSIONS_REFERRERS_CONCURRENCY", "7")
	t.Setenv("REGISTRY_EXTENSIONS_ORAS_ENABLED", "false")
	t.Setenv("REGISTRY_HTTP_ADDR", "127.0.0.1:7")
	config, err := config.Parse([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	x, err := extend(config, []extensions.Extension{oras.New(), oci.New()})
	if err != nil {
		t.Fatal(err)
	}
	if x.index.Concurrency != 7 || len(x.enabled) != 1 || x.enabled[0].Name() != "oci" || config.Stock.HTTP.Addr != "127.0.0.1:7" {
		t.Errorf("concurrency %d, extensions %v, address %s", x.index.Concurrency, x.enabled, config.Stock.HTTP.Addr)
	}
	t.Setenv("REGISTRY_EXTENSIONS_ORAS_ENABELD", "true")
	if err := configured(minimal); err == nil || !strings.Contains(err.Error(), "extensions.oras.enabeld: unknown key") {
		t.Errorf("a misspelt variable: %v", err)
	}
}

// Whatever is wrong with a configuration is one line, and never a panic.
func TestBrokenConfigurations(t *testing.T) {
	for _, text := range []string{
		"", "x", "version: 9.9", "version: 0.1", "version: 0.1\nstorage: {a: {}, b: {}}", "version: 0.1\nstorage: [",
		"version: 0.1\nstorage: 3\nlog: []", "version: 0.1\nstorage: inmemory\nlog: {level: loud}",
	} {
		if err := configured(text); err == nil || strings.Contains(oneLine(err), "\n") || oneLine(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}
