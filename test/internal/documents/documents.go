// Package documents reads the project's Markdown files, runs the commands in them and
// compares what they print with what the files show. It is for tests only.
package documents

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Page is a Markdown file.
type Page struct {
	// Path is relative to the project's folder, with slashes.
	Path string
	Text string
}

// Read reads the page at a path below the project's folder.
func Read(t testing.TB, path string) Page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return Page{path, string(text)}
}

// elsewhere are folders with files that are not the project's own.
var elsewhere = []string{".git", "node_modules", "bin", "dist", "registry-data"}

// All reads all pages of the project.
func All(t testing.TB) (pages []Page) {
	t.Helper()
	err := filepath.WalkDir(harness.Root(), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(elsewhere, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		relative, err := filepath.Rel(harness.Root(), path)
		pages = append(pages, Read(t, filepath.ToSlash(relative)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// Block is a fenced block of a page.
type Block struct {
	// Section is the text of the nearest heading above the block.
	Section string
	// Language is the first word after the fence.
	Language string
	Text     string
}

// Blocks are the fenced blocks of the page.
func (p Page) Blocks() (blocks []Block) {
	section, language, inside := "", "", false
	var text strings.Builder
	for line := range strings.Lines(p.Text) {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			blocks = append(blocks, Block{section, language, text.String()})
			inside = false
		case fence:
			language, _, _ = strings.Cut(strings.TrimSpace(info), " ")
			text.Reset()
			inside = true
		case inside:
			text.WriteString(line)
		case strings.HasPrefix(line, "#"):
			section = headingText(line)
		}
	}
	return blocks
}

// In are the fenced blocks of some of the page's sections.
func (p Page) In(sections ...string) []Block {
	return slices.DeleteFunc(p.Blocks(), func(b Block) bool { return !slices.Contains(sections, b.Section) })
}

// Prose is the page without its fenced blocks.
func (p Page) Prose() string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(p.Text, "")
}

// Headings are the texts of the page's headings.
func (p Page) Headings() (headings []string) {
	for line := range strings.Lines(p.Prose()) {
		if strings.HasPrefix(line, "#") {
			headings = append(headings, headingText(line))
		}
	}
	return headings
}

func headingText(line string) string { return strings.TrimSpace(strings.TrimLeft(line, "#")) }

// Rows are the cells of the tables in a section, without the heads of the tables. Code
// is without its quotes.
func (p Page) Rows(section string) (rows [][]string) {
	current, head := "", true
	for line := range strings.Lines(p.Prose()) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			current = headingText(line)
		case !strings.HasPrefix(line, "|"):
			head = true
		case strings.Trim(line, "|-: ") == "":
			head = false
		case !head && current == section:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
			}
			rows = append(rows, cells)
		}
	}
	return rows
}
