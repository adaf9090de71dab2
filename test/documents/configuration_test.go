package documents_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

const (
	configPage  = "docs/configuration.md"
	keysSection = "Keys of this registry"
)

// sections are the folders whose code decodes a section of the configuration.
var sections = map[string]string{"registry": "referrers", "extensions/oci": "oci", "extensions/oras": "oras", "internal/collection": "collection"}

// decoded are the keys that the code decodes: the tags of struct fields.
func decoded(t *testing.T) map[string]bool {
	t.Helper()
	keys := map[string]bool{"extensions.oras.enabled": true, "extensions.oci.enabled": true, "extensions.browse.enabled": true}
	for folder, section := range sections {
		files, err := filepath.Glob(filepath.Join(harness.Root(), folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(node ast.Node) bool {
				if field, ok := node.(*ast.Field); ok && field.Tag != nil {
					text, _ := strconv.Unquote(field.Tag.Value)
					if key, ok := reflect.StructTag(text).Lookup("yaml"); ok {
						keys["extensions."+section+"."+key] = true
					}
				}
				return true
			})
		}
	}
	return keys
}

// The table has every key that the code decodes, and no other.
func TestConfigurationKeys(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, row := range documents.Read(t, configPage).Rows(keysSection) {
		documented[row[0]] = true
	}
	if want := decoded(t); !maps.Equal(documented, want) {
		t.Errorf("documented are %v\ndecoded are %v", documented, want)
	}
}

// The configuration with the defaults is accepted, has every key, and is what the table
// and the code say.
func TestConfigurationDefaults(t *testing.T) {
	t.Parallel()
	page := documents.Read(t, configPage)
	text := ""
	for _, block := range page.In(keysSection) {
		if block.Language == "yaml" {
			text = block.Text
		}
	}
	var shown struct {
		Extensions map[string]map[string]any `yaml:"extensions"`
	}
	if err := yaml.Unmarshal([]byte(text), &shown); err != nil {
		t.Fatal(err)
	}
	rows := page.Rows(keysSection)
	for _, row := range rows {
		path := strings.Split(row[0], ".")
		value, ok := shown.Extensions[path[1]][path[2]]
		if got := fmt.Sprint(value); !ok || row[2] != "none" && got != row[2] {
			t.Errorf("the default of %s is %s in the table, and %s in the example", row[0], row[2], got)
		}
	}
	for key, want := range map[string]any{
		"cachesize": referrers.DefaultCacheSize, "concurrency": referrers.DefaultConcurrency,
		"wait": referrers.DefaultWait, "maxannotations": referrers.DefaultMaxAnnotations,
	} {
		if got := shown.Extensions["referrers"][key]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the default of %s is documented as %v, and is %v", key, got, want)
		}
	}
	harness.Start(t, harness.Options{Config: text})
}

// Every key is read: a value that no key takes is refused by name, in the file and in the
// environment.
func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	for _, row := range documents.Read(t, configPage).Rows(keysSection) {
		path := strings.Split(row[0], ".")
		config := filepath.Join(t.TempDir(), "config.yml")
		text := fmt.Sprintf("version: 0.1\nstorage: inmemory\nextensions: {%s: {%s: {no: value}}}\n", path[1], path[2])
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if result := harness.Run(t, "serve", config); result.Exit != 1 || !strings.Contains(result.Stderr, row[0]) {
			t.Errorf("%s: exit code %d: %s", row[0], result.Exit, result.Stderr)
		}
	}
}

// The commands that set keys in the environment start a registry, and a wrong value is
// noticed.
func TestConfigurationEnvironment(t *testing.T) {
	t.Parallel()
	commands := 0
	for _, block := range documents.Read(t, configPage).In(keysSection) {
		if block.Language != "sh" {
			continue
		}
		for line := range strings.Lines(block.Text) {
			variable, command, _ := strings.Cut(strings.TrimSpace(line), " ")
			if command != "registry serve config.yml" {
				t.Fatalf("nothing runs %q", line)
			}
			harness.Start(t, harness.Options{Env: []string{variable}})
			config := harness.Start(t, harness.Options{}).Config
			if result := harness.RunWith(t, []string{variable + "wrong"}, "serve", config); result.Exit != 1 {
				t.Errorf("%swrong: exit code %d", variable, result.Exit)
			}
			commands++
		}
	}
	if commands == 0 {
		t.Error("no commands are shown")
	}
}

// The command that checks a file prints what the page shows.
func TestConfigurationCheck(t *testing.T) {
	t.Parallel()
	blocks := documents.Read(t, configPage).In("Checking a configuration")
	if len(blocks) != 3 {
		t.Fatalf("the section has %d blocks", len(blocks))
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(config, []byte(blocks[0].Text), 0o600); err != nil {
		t.Fatal(err)
	}
	args, _, _ := strings.Cut(strings.TrimPrefix(blocks[1].Text, "registry "), " config.yml")
	result := harness.Run(t, append(strings.Fields(args), config)...)
	if result.Exit != 1 || result.Stderr != blocks[2].Text {
		t.Errorf("%q prints, with exit code %d,\n%s\nshown is\n%s", args, result.Exit, result.Stderr, blocks[2].Text)
	}
}
