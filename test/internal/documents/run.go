package documents

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Shell is where the commands of a page run.
type Shell struct {
	Folder string
	Env    []string
	// Names are pairs: what a page calls something, and what it is called in the test.
	Names []string
}

// NewShell is an empty folder to run commands in, which find the registry's executable as
// registry.
func NewShell(t testing.TB, names ...string) Shell {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(harness.Binary(t), filepath.Join(bin, "registry")); err != nil {
		t.Fatal(err)
	}
	return Shell{Folder: t.TempDir(), Env: append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")), Names: names}
}

// runTimeout is how long all commands of one run may take.
const runTimeout = 5 * time.Minute

// separator stands between the outputs of two blocks.
const separator = "\x1e"

// Run runs blocks of commands, those of language sh, in one bash. What a block prints to
// its standard output is what the block of text below it shows, if there is one: `…` in
// a line stands for any text, and a line with nothing else for any lines.
func Run(t testing.TB, shell Shell, blocks []Block) {
	t.Helper()
	script, shown := "set -euo pipefail\n", []*Block{}
	for i, block := range blocks {
		switch block.Language {
		case "sh":
			script += block.Text + "printf '\\036'\n"
			shown = append(shown, nil)
		case "text", "json":
			if len(shown) == 0 || shown[len(shown)-1] != nil {
				t.Fatalf("no commands stand above this output:\n%s", block.Text)
			}
			shown[len(shown)-1] = &blocks[i]
		}
	}
	printed := shell.run(t, script)
	for i, block := range shown {
		if block != nil && !matches(block.Text, printed[i]) {
			t.Errorf("the section %q shows\n%s\nprinted is\n%s", block.Section, block.Text, printed[i])
		}
	}
}

// run runs a script and returns the outputs of its blocks.
func (s Shell) run(t testing.TB, script string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	backward := slices.Clone(s.Names)
	slices.Reverse(backward)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", "-c", strings.NewReplacer(s.Names...).Replace(script))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Folder, s.Env, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	return strings.Split(strings.NewReplacer(backward...).Replace(stdout.String()), separator)
}

// matches reports whether a page shows what was printed.
func matches(shown, printed string) bool {
	pattern := regexp.QuoteMeta(trimmed(shown))
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(pattern, `(?:.*\n)*`)
	pattern = regexp.MustCompile(`\n…$`).ReplaceAllString(pattern, `(?:\n.*)*`)
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(trimmed(printed))
}

// trimmed is text without white space at the ends of its lines.
func trimmed(text string) string {
	return strings.TrimSpace(regexp.MustCompile(`[ \t\r]+(\n|$)`).ReplaceAllString(text, "$1"))
}
