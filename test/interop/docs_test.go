package interop_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// documentedAddr is the registry's address in docs/clients.md.
const documentedAddr = "localhost:5000"

// setupSection is the text before the first heading of a client: its commands make
// the files that all sections use.
const setupSection = "Clients"

// block is a fenced block: of commands, or of the output of the commands before it.
type block struct{ language, text string }

var (
	heading = regexp.MustCompile(`(?m)^##? (.+)$`)
	fence   = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")
)

func readClientsPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sections are the blocks of docs/clients.md by heading.
func sections(t *testing.T) map[string][]block {
	t.Helper()
	text := readClientsPage(t)
	found := map[string][]block{}
	starts := heading.FindAllStringSubmatchIndex(text, -1)
	for i, start := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		name := text[start[2]:start[3]]
		for _, match := range fence.FindAllStringSubmatch(text[start[1]:end], -1) {
			found[name] = append(found[name], block{match[1], match[2]})
		}
	}
	return found
}

// runSection runs the commands of a section in one shell, and compares their output with
// the documented one.
func runSection(t *testing.T, name string) {
	t.Helper()
	w := newWorkspace(t, harness.Options{})
	addr := strings.Replace(w.Addr, "127.0.0.1", "localhost", 1)
	script := "set -euo pipefail\n"
	var expected []string
	all := sections(t)
	for _, b := range append(all[setupSection], all[name]...) {
		switch b.language {
		case "sh":
			script += b.text
		case "text":
			expected = append(expected, strings.Split(strings.TrimSpace(b.text), "\n")...)
		default:
			t.Errorf("docs/clients.md has a block of %q, which nothing runs", b.language)
		}
	}
	output := w.run("bash", "-c", strings.ReplaceAll(script, documentedAddr, addr))
	output = strings.ReplaceAll(output, addr, documentedAddr)
	for _, line := range expected {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*")
		if !regexp.MustCompile(`(?m)^` + pattern + `$`).MatchString(output) {
			t.Errorf("docs/clients.md documents the line %q, which is not printed:\n%s", line, output)
		}
	}
	w.expectNoFallback()
}

// TestDocumentation runs the commands of docs/clients.md. Those of skopeo are run by the
// tests that need Debian packages.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	for name := range sections(t) {
		if name == setupSection || name == "skopeo" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runSection(t, name)
		})
	}
}

// TestDocumentedVersions compares the table of docs/clients.md with the pinned versions.
func TestDocumentedVersions(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../clients/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page := readClientsPage(t)
	for client, module := range map[string]string{
		"oras": "oras.land/oras", "regctl": "github.com/regclient/regclient", "crane": "github.com/google/go-containerregistry",
		"cosign": "github.com/sigstore/cosign/v3", "notation-go": "github.com/notaryproject/notation-go",
	} {
		row := regexp.MustCompile(`(?m)^\| ` + client + ` \| (\S+) \|`).FindStringSubmatch(page)
		if row == nil {
			t.Errorf("docs/clients.md has no row for %s", client)
			continue
		}
		if pin := regexp.MustCompile(`(?m)^\s` + regexp.QuoteMeta(module+" "+row[1]) + `( //.*)?$`); !pin.Match(content) {
			t.Errorf("docs/clients.md says %s %s, test/clients/go.mod pins another one", client, row[1])
		}
	}
}
