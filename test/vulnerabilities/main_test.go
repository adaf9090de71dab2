package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// found is the output of govulncheck with Go 1.26.8: one vulnerability of the standard
// library and one of a module are called; one of each is present but not called.
const found = `
{"config": {"go_version": "go1.26.8"}}
{"osv": {"id": "GO-2026-1", "summary": "Loops in net/http"}}
{"osv": {"id": "GO-2026-2", "summary": "Panics in m"}}
{"finding": {"osv": "GO-2026-1", "fixed_version": "v1.26.9", "trace": [{"module": "stdlib", "version": "v1.26.8", "package": "net/http"}]}}
{"finding": {"osv": "GO-2026-1", "fixed_version": "v1.26.9", "trace": [
	{"module": "stdlib", "version": "v1.26.8", "package": "net/http", "receiver": "*Server", "function": "Serve"},
	{"module": "registry", "package": "registry/cmd", "function": "main"}]}}
{"finding": {"osv": "GO-2026-2", "trace": [{"module": "m", "version": "v1.0.0", "package": "m/p", "function": "F"}]}}
{"finding": {"osv": "GO-2026-3", "trace": [{"module": "m", "version": "v1.0.0"}]}}`

func TestListIsHeldAgainstWhatWasFound(t *testing.T) {
	const (
		one = "| GO-2026-1 | go1.26.9 | a | b |\n"
		two = "| GO-2026-2 | no version | a | b |\n"
	)
	newer := strings.ReplaceAll(found, "go1.26.8", "go1.27.0")
	newer = strings.ReplaceAll(newer, `"osv": "GO-2026-1"`, `"osv": "GO-2026-2"`)
	for name, test := range map[string]struct {
		found, oldest, list string
		want                []string // what is said, if it is wrong
	}{
		"all are explained":      {found, "1.26.8", one + two, nil},
		"nothing is explained":   {found, "1.26.8", "GO-2026-1", []string{"GO-2026-1 is not", "Loops in net/http", "fixed in v1.26.9", "registry/cmd.main > net/http.*Server.Serve", "GO-2026-2 is not", "not fixed"}},
		"one is not explained":   {found, "1.26.8", one, []string{"GO-2026-2 is not"}},
		"one is not called":      {found, "1.26.8", one + two + "| GO-2026-3 | v1.1.0 | a | b |\n", []string{"GO-2026-3 is explained"}},
		"Go lost one early":      {found, "1.26.8", one + two + "| GO-2026-4 | go1.26.9 | a | b |\n", []string{"GO-2026-4 is explained"}},
		"this Go has it fixed":   {newer, "1.26.8", one + two, nil},
		"every Go has it fixed":  {newer, "1.26.9", one + two, []string{"GO-2026-1 is explained"}},
		"no database":            {`{"config": {"go_version": "go1.26.8"}}`, "1.26.8", one + two, []string{"no database"}},
		"nothing was found":      {"", "1.26.8", "", []string{"no database"}},
		"govulncheck breaks off": {found + `{"finding": {`, "1.26.8", one + two, []string{"unexpected EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			list := filepath.Join(t.TempDir(), "list.md")
			if err := os.WriteFile(list, []byte(test.list), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := run(strings.NewReader(test.found), test.oldest, list, &out)
			if (err != nil) != (test.want != nil) {
				t.Fatalf("error %v\n%s", err, out.String())
			}
			if err != nil {
				out.WriteString(err.Error())
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in:\n%s", want, out.String())
				}
			}
		})
	}
}
