package registry_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	goBlock  = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	contract = regexp.MustCompile(`(?m)^type (\w+) interface`)
	indent   = regexp.MustCompile(`(?m)^\t+`)
)

// The code in docs/extending.md is the code of the Example, except for indentation.
func TestExtendingDocument(t *testing.T) {
	example := indent.ReplaceAllString(readFile(t, "example_test.go"), "")
	blocks := goBlock.FindAllStringSubmatch(readFile(t, "../docs/extending.md"), -1)
	if len(blocks) < 5 {
		t.Fatalf("there are only %d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		if code := indent.ReplaceAllString(block[1], ""); !strings.Contains(example, code) {
			t.Errorf("this is not in the Example:\n%s", block[1])
		}
	}
}

// The README of the contract lists every optional interface.
func TestContractDocument(t *testing.T) {
	readme := readFile(t, "../extensions/README.md")
	interfaces := contract.FindAllStringSubmatch(readFile(t, "../extensions/extension.go"), -1)
	if len(interfaces) < 7 {
		t.Fatalf("the contract has only %q", interfaces)
	}
	for _, found := range interfaces {
		if name := found[1]; !strings.Contains(readme, "`"+name+"`") {
			t.Errorf("extensions/README.md does not mention %s", name)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
