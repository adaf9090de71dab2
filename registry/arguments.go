package registry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/internal/config"
)

// arguments checks the arguments of a command, given by their names; those in brackets
// are optional. The error names a missing or unexpected argument.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return fmt.Errorf("%s: unexpected argument %q; usage: %s", cmd.CommandPath(), args[len(names)], cmd.UseLine())
		}
		for _, name := range names[len(args):] {
			if !strings.HasPrefix(name, "[") {
				return fmt.Errorf("%s: %s is missing; usage: %s", cmd.CommandPath(), name, cmd.UseLine())
			}
		}
		return nil
	}
}

// subcommandRequired runs a command that only has subcommands: it shows its help, and
// refuses unknown subcommands.
func subcommandRequired(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	message := fmt.Sprintf("%s: there is no command %q", cmd.CommandPath(), args[0])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return errors.New(message)
}

// loadNamed loads the configuration that an argument or the environment names.
func loadNamed(command string, args []string) (*Config, error) {
	loaded, err := config.Load(args)
	if err == nil && loaded.Embedded {
		return nil, fmt.Errorf("%s: CONFIG is missing: name a configuration file, as argument or in %s", command, config.PathVariable)
	}
	return loaded, err
}

// age is a flag for a duration, which may be in days or weeks: 36h, 1d, 2w.
type age time.Duration

// Set implements pflag.Value.
func (a *age) Set(text string) error {
	for unit, hours := range map[string]int{"d": 24, "w": 7 * 24} {
		var n int
		if number, ok := strings.CutSuffix(text, unit); ok {
			if _, err := fmt.Sscanf(number+"!", "%d!", &n); err == nil {
				*a = age(time.Duration(n*hours) * time.Hour)
				return nil
			}
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("must be a duration such as 36h, 1d or 2w, not %q", text)
	}
	*a = age(d)
	return nil
}

// String implements pflag.Value.
func (a *age) String() string { return time.Duration(*a).String() }

// Type implements pflag.Value.
func (a *age) Type() string { return "duration" }
