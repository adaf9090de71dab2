package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The storage drivers that need nothing but the machine.
const (
	Filesystem = "filesystem"
	InMemory   = "inmemory"
)

// Drivers are the storage drivers that the black-box tests run on.
func Drivers() []string { return []string{Filesystem, InMemory} }

// baseConfig is what every registry of the tests is started with, unless its
// Options say otherwise.
const baseConfig = `
version: 0.1
log:
  level: info
storage:
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: 127.0.0.1:0
  secret: tests
  draintimeout: 10s
`

// tree is a parsed YAML document.
type tree = map[string]any

// configFile writes the configuration that the options ask for.
func (o Options) configFile(t testing.TB) string {
	t.Helper()
	config := parse(t, baseConfig)
	if !o.OwnStorage {
		driver := tree{}
		if o.Driver == Filesystem {
			driver["rootdirectory"] = o.Root
		}
		merge(config, tree{"storage": tree{o.Driver: driver}})
	}
	merge(config, parse(t, o.Config))
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parse(t testing.TB, text string) tree {
	t.Helper()
	parsed := tree{}
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatalf("%v in the configuration:\n%s", err, text)
	}
	return parsed
}

// merge lays one document over another: mappings are merged, all else is
// replaced, and null removes.
func merge(under, over tree) {
	for key, value := range over {
		below, isTree := under[key].(tree)
		above, both := value.(tree)
		switch {
		case isTree && both:
			merge(below, above)
		case value == nil:
			delete(under, key)
		default:
			under[key] = value
		}
	}
}

// Configf formats YAML for Options.Config.
func Configf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
