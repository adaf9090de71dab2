package registry

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
)

// A mistake in a command line is reported by name, with an exit code.
func TestCommandLines(t *testing.T) {
	for line, want := range map[string]string{
		"referrers verfiy x.yml":                `there is no command "verfiy"; did you mean "verify"?`,
		"srve":                                  `there is no command "srve"; did you mean "serve"?`,
		"nonsense":                              `there is no command "nonsense"`,
		"referrers verify":                      "registry referrers verify: CONFIG is missing",
		"referrers verify a.yml b":              `unexpected argument "b"`,
		"referrers tree a.yml":                  "REPOSITORY[:TAG|@DIGEST] is missing",
		"garbage-collect a.yml b":               `unexpected argument "b"`,
		"serve a.yml b":                         `unexpected argument "b"`,
		"version x":                             `unexpected argument "x"`,
		"garbage-collect --older-than 1y a.yml": "must be a duration such as 36h, 1d or 2w",
	} {
		out, err := execute(strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("registry %s: error %v, want %q\n%s", line, err, want, out)
		}
	}
	for _, line := range []string{"", "referrers", "version", "help"} {
		if out, err := execute(strings.Fields(line)...); err != nil || out == "" {
			t.Errorf("registry %s: %v\n%s", line, err, out)
		}
	}
}

func execute(args ...string) (string, error) {
	var out bytes.Buffer
	root := newRoot([]extensions.Extension{})
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.Execute()
	return out.String(), err
}

// The command shows the versions of distribution and of Go, and the commit, too.
func TestVersionCommand(t *testing.T) {
	out, err := execute("version")
	for _, want := range []string{"registry ", "distribution ", "go ", "commit "} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v\n%s, want %q", err, out, want)
		}
	}
}

func TestAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"36h": 36 * time.Hour, "1d": 24 * time.Hour, "2w": 14 * 24 * time.Hour, "90m": 90 * time.Minute} {
		var a age
		cmd := &cobra.Command{}
		cmd.Flags().Var(&a, "older-than", "")
		if err := cmd.Flags().Set("older-than", text); err != nil || time.Duration(a) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(a), err)
		}
	}
}
