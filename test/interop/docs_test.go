//go:build e2e

package interop_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// documentedAddr is the registry's address in the documents.
const documentedAddr = "localhost:5000"

// The pages with commands of clients, and the section whose commands make the files that
// all sections of docs/clients.md use.
const (
	clientsPage  = "docs/clients.md"
	setupSection = "Clients"
)

// runSections runs the commands of sections in one shell, and compares their output with
// the documented one.
func runSections(t *testing.T, page string, names ...string) {
	t.Helper()
	w := newWorkspace(t, harness.Options{})
	blocks := documents.Read(t, page).In(names...)
	if len(blocks) == 0 {
		t.Fatalf("%s has no commands in %q", page, names)
	}
	documents.Run(t, documents.Shell{
		Folder: w.folder, Env: w.env,
		Names: []string{
			documentedAddr, strings.Replace(w.Addr, "127.0.0.1", "localhost", 1),
			"COSIGN_PASSWORD= cosign attest", nextSecond + "COSIGN_PASSWORD= cosign attest",
			"COSIGN_PASSWORD= cosign sign", nextSecond + "COSIGN_PASSWORD= cosign sign",
			"cosign sign", nextSecond + "cosign sign",
		},
	}, blocks)
	w.expectNoFallback()
}

// nextSecond lets a second begin: what clients attach is listed in the order of its time,
// which has whole seconds.
const nextSecond = `now=$SECONDS; until [ $SECONDS != $now ]; do :; done; `

// TestDocumentation runs the commands of docs/clients.md. Those of skopeo are run by the
// tests that need Debian packages.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	var names []string
	for _, block := range documents.Read(t, clientsPage).Blocks() {
		if name := block.Section; name != setupSection && name != "skopeo" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) < 4 {
		t.Fatalf("%s has only the sections %q", clientsPage, names)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runSections(t, clientsPage, setupSection, name)
		})
	}
}

// TestReadme runs the commands of the README that sign an image and verify it.
func TestReadme(t *testing.T) {
	t.Parallel()
	runSections(t, "README.md", "Attach, sign, discover, verify")
}

// TestDocumentedVersions compares the table of docs/clients.md with the pinned versions.
func TestDocumentedVersions(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../clients/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range documents.Read(t, clientsPage).Rows(setupSection) {
		documented[row[0]] = row[1]
	}
	for client, module := range map[string]string{
		"oras": "oras.land/oras", "regctl": "github.com/regclient/regclient", "crane": "github.com/google/go-containerregistry",
		"cosign": "github.com/sigstore/cosign/v3", "notation-go": "github.com/notaryproject/notation-go",
		"containerd": "github.com/containerd/containerd/v2",
	} {
		version := documented[client]
		if pin := regexp.MustCompile(`(?m)^\s` + regexp.QuoteMeta(module+" "+version) + `( //.*)?$`); version == "" || !pin.Match(content) {
			t.Errorf("%s says %s %q, test/clients/go.mod pins another one", clientsPage, client, version)
		}
	}
}
