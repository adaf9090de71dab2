package architecture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

const (
	module = "github.com/oras-distribution/registry"
	driver = "github.com/distribution/distribution/v3/registry/storage/driver"
)

// rule forbids imports. Packages of the project are named by their folder, all
// others by their import path; a name that ends with "/..." also stands for
// what is below it.
type rule struct {
	because string
	from    []string
	never   []string
	except  []string // of never
}

// The direction is: cmd -> registry -> extensions -> listing -> the index -> layout.
// Public are registry and extensions, with the extensions below it.
var (
	index = []string{"internal/referrers", "internal/manifest", "internal/layout", "internal/flight"}
	web   = []string{"extensions/...", "internal/listing"}
	rules = []rule{
		{
			because: "the index knows nothing of HTTP",
			from:    append([]string{"internal/gc", "internal/convert"}, index...),
			never:   []string{"net/http", "github.com/gorilla/..."},
		},
		{
			because: "the index does not import its users",
			from:    index,
			never:   []string{"cmd/...", "registry/...", "extensions/...", "internal/..."},
			except:  index,
		},
		{
			because: "a document is read without any I/O",
			from:    []string{"internal/manifest"},
			never:   []string{driver + "/...", "internal/..."},
		},
		{
			because: "what stays is decided without any I/O",
			from:    []string{"internal/retention"},
			never:   []string{driver + "/...", "net/http", "os", "extensions/...", "internal/..."},
			except:  []string{"internal/manifest"},
		},
		{
			because: "the storage tree is below everything",
			from:    []string{"internal/layout"},
			never:   []string{"internal/..."},
		},
		{
			because: "HTTP packages ask the index, never the storage",
			from:    web,
			never:   []string{driver + "/..."},
		},
		{
			because: "an extension does not know the registry that it is part of",
			from:    []string{"extensions/...", "internal/..."},
			never:   []string{"cmd/...", "registry/..."},
		},
		{
			because: "the contract does not know the extensions",
			from:    []string{"extensions"},
			never:   []string{"extensions/..."},
			except:  []string{"extensions"},
		},
		{
			because: "an extension is written against the contract alone",
			from:    []string{"extensions/browse", "extensions/mirror", "extensions/oras", "extensions/oci"},
			never:   []string{"extensions/browse", "extensions/mirror", "extensions/oras", "extensions/oci", "internal/..."},
		},
		{
			because: "only main lists the extensions",
			from:    []string{"registry/...", "internal/..."},
			never:   []string{"cmd/...", "extensions/browse", "extensions/mirror", "extensions/oras", "extensions/oci"},
		},
		{
			because: "only main lists the storage drivers",
			from:    []string{"registry/...", "extensions/...", "internal/..."},
			never:   []string{driver + "/..."},
			except:  []string{driver, driver + "/factory", driver + "/base"},
		},
		{
			because: "tests are not part of the product",
			from:    []string{"cmd/...", "registry/...", "extensions/...", "internal/..."},
			never:   []string{"testing", "test/..."},
		},
	}
)

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	imports := productImports(t)
	folders := slices.Collect(maps.Keys(imports))
	for _, r := range rules {
		for _, name := range r.from {
			if !slices.ContainsFunc(folders, func(folder string) bool { return matches(name, folder) }) {
				t.Errorf("the rule that %s names %s, which does not exist", r.because, name)
			}
		}
	}
	for _, violation := range violations(imports, rules) {
		t.Error(violation)
	}
}

// The rules find the imports that they forbid.
func TestRulesAreNotBlind(t *testing.T) {
	t.Parallel()
	for from, imported := range map[string]string{
		"internal/referrers": "net/http",
		"internal/manifest":  "extensions",
		"internal/layout":    "internal/manifest",
		"internal/listing":   driver,
		"extensions/oras":    "internal/listing",
		"extensions/oci":     "registry",
		"extensions":         "extensions/oras",
		"internal/gc":        driver + "/filesystem",
		"registry":           "extensions/oras",
		"internal/progress":  "testing",
	} {
		if found := violations(map[string][]string{from: {"fmt", imported}}, rules); len(found) == 0 {
			t.Errorf("no rule keeps %s from importing %s", from, imported)
		}
	}
}

func violations(imports map[string][]string, rules []rule) []string {
	var found []string
	for _, r := range rules {
		for folder, imported := range imports {
			if !matchesAny(r.from, folder) {
				continue
			}
			for _, name := range imported {
				if matchesAny(r.never, name) && !matchesAny(r.except, name) {
					found = append(found, fmt.Sprintf("%s imports %s, but %s", folder, name, r.because))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, name) })
}

func matches(pattern, name string) bool {
	above, tree := strings.CutSuffix(pattern, "/...")
	return name == above || tree && strings.HasPrefix(name, above+"/")
}

// Everything but the registry and the extensions is internal.
func TestPublicPackages(t *testing.T) {
	t.Parallel()
	for folder := range productImports(t) {
		if !matchesAny([]string{"cmd/registry", "registry", "extensions/...", "internal/..."}, folder) {
			t.Errorf("%s is public", folder)
		}
	}
}

// productImports are the imports of the project's packages, without tests.
func productImports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./cmd/...", "./registry/...", "./extensions/...", "./internal/...")
	cmd.Dir = harness.Root()
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := map[string][]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var listed struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			return imports
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for _, name := range listed.Imports {
			imports[folder(listed.ImportPath)] = append(imports[folder(listed.ImportPath)], folder(name))
		}
	}
}

// folder names a package as the rules do.
func folder(importPath string) string {
	return path.Clean(strings.TrimPrefix(importPath, module+"/"))
}
