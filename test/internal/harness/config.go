package harness

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The storage drivers that need no server.
const (
	Filesystem = "filesystem"
	InMemory   = "inmemory"
)

// External is the storage that the file named by StorageVariable describes.
const External = "external"

// StorageVariable is the environment variable with the path of a YAML file whose
// section `storage:` makes the tests run on another storage driver, instead of on
// those that need no server. ROOT in it stands for a name that is unique to each tree,
// NUMBER for a number below 65536, HUNDRED for one below 100.
const StorageVariable = "TEST_STORAGE"

// Drivers are the storage drivers that the black-box tests run on.
func Drivers() []string {
	if os.Getenv(StorageVariable) != "" {
		return []string{External}
	}
	return []string{Filesystem, InMemory}
}

// SharedDriver is a driver that several processes can use at the same time.
func SharedDriver() string { return Drivers()[0] }

// storage is the configuration of the storage driver.
func (o Options) storage(t testing.TB) tree {
	t.Helper()
	switch o.Driver {
	case Filesystem:
		return tree{"storage": tree{Filesystem: tree{"rootdirectory": o.Root}}}
	case External:
		file, err := os.ReadFile(os.Getenv(StorageVariable))
		if err != nil {
			t.Fatal(err)
		}
		var number int
		if _, err := fmt.Sscanf(o.Root, "tree-%d-", &number); err != nil {
			t.Fatal(err)
		}
		names := strings.NewReplacer("ROOT", o.Root, "NUMBER", fmt.Sprint(number), "HUNDRED", fmt.Sprint(number%100))
		return parse(t, names.Replace(string(file)))
	default:
		return tree{"storage": tree{o.Driver: tree{}}}
	}
}

// The trees are numbered from some number on, that processes do not share.
var (
	firstTree = mathrand.Uint32()
	trees     atomic.Uint32
)

// newRoot is a place for the tree of a new registry.
func (o Options) newRoot(t testing.TB) string {
	switch o.Driver {
	case Filesystem:
		return t.TempDir()
	case External:
		return fmt.Sprintf("tree-%d-%s", uint16(firstTree+trees.Add(1)), rand.Text())
	default:
		return ""
	}
}

// baseConfig is what every registry of the tests is started with, unless its
// Options say otherwise. The OCI route lists everything, so that a test finds by
// every route what it has pushed.
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
extensions:
  oci:
    orasartifacts: true
`

// tree is a parsed YAML document.
type tree = map[string]any

// configFile writes the configuration that the options ask for.
func (o Options) configFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	write(t, path, o.configuration(t))
	return path
}

func (o Options) configuration(t testing.TB) []byte {
	t.Helper()
	config := parse(t, baseConfig)
	merge(config, o.storage(t))
	merge(config, parse(t, o.Config))
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return text
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
