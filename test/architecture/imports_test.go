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

	"github.com/oras-distribution/registry/test/harness"
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

// The direction is: cmd -> registry -> extensions <- the extensions -> the index.
var (
	index = []string{"extensions/referrers", "extensions/manifest", "extensions/layout"}
	web   = []string{"extensions", "extensions/listing", "extensions/oras", "extensions/oci"}
	rules = []rule{
		{
			because: "the index knows nothing of HTTP",
			from:    index,
			never:   []string{"net/http", "github.com/gorilla/..."},
		},
		{
			because: "the index knows nobody who uses it",
			from:    index,
			never:   []string{"cmd/...", "registry/...", "extensions/..."},
			except:  index,
		},
		{
			because: "what speaks HTTP asks the index, never the storage",
			from:    web,
			never:   []string{driver + "/..."},
		},
		{
			because: "an extension does not know the registry that it is part of",
			from:    []string{"extensions/..."},
			never:   []string{"cmd/...", "registry/..."},
		},
		{
			because: "the contract does not know the extensions",
			from:    []string{"extensions"},
			never:   []string{"extensions/..."},
			except:  append([]string{"extensions"}, index...),
		},
		{
			because: "an extension does not know another one",
			from:    []string{"extensions/oras"},
			never:   []string{"extensions/oci"},
		},
		{
			because: "an extension does not know another one",
			from:    []string{"extensions/oci"},
			never:   []string{"extensions/oras"},
		},
		{
			because: "which extensions there are is only main's to say",
			from:    []string{"registry/..."},
			never:   []string{"cmd/...", "extensions/oras", "extensions/oci", "extensions/listing"},
		},
		{
			because: "which storage drivers there are is only main's to say",
			from:    []string{"registry/...", "extensions/..."},
			never:   []string{driver + "/..."},
			except:  []string{driver, driver + "/factory", driver + "/base"},
		},
		{
			because: "tests are not part of the product",
			from:    []string{"cmd/...", "registry/...", "extensions/..."},
			never:   []string{"testing", "test/...", "internal/faultdriver"},
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
				t.Errorf("the rule that %s is about %s, which is not there", r.because, name)
			}
		}
	}
	for _, violation := range violations(imports, rules) {
		t.Error(violation)
	}
}

// The rules find what they forbid.
func TestRulesAreNotBlind(t *testing.T) {
	t.Parallel()
	for from, imported := range map[string]string{
		"extensions/referrers": "net/http",
		"extensions/manifest":  "extensions",
		"extensions/layout":    "registry",
		"extensions/listing":   driver,
		"extensions/oras":      "extensions/oci",
		"extensions/oci":       "registry/gc",
		"extensions":           "extensions/listing",
		"registry/gc":          driver + "/filesystem",
		"registry":             "extensions/oras",
		"cmd/registry":         "test/harness",
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

// productImports are the imports of the project's packages, tests left out.
func productImports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./cmd/...", "./registry/...", "./extensions/...")
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
