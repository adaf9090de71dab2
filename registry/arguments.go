package registry

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/retention"
)

// arguments checks the arguments of a command, given by their names; those in brackets
// are optional, and a last one that ends with "…]" may be repeated. The error names a
// missing or unexpected argument.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		repeated := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "…]")
		if len(args) > len(names) && !repeated {
			return fmt.Errorf("%s: unexpected argument %q; usage: %s", cmd.CommandPath(), args[len(names)], cmd.UseLine())
		}
		for _, name := range names[min(len(args), len(names)):] {
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

// requireConfig refuses a command line that names no configuration, where the environment
// names none either.
func requireConfig(command string, args []string) error {
	if len(args) == 0 && os.Getenv(config.PathVariable) == "" {
		return fmt.Errorf("%s: CONFIG is missing: name a configuration file, as argument or in %s", command, config.PathVariable)
	}
	return nil
}

// age is a flag for a duration, which may be in days or weeks: 36h, 1d, 2w.
type age time.Duration

// Set implements pflag.Value.
func (a *age) Set(text string) error {
	d, err := retention.ParseAge(text)
	if err != nil {
		return err
	}
	*a = age(d)
	return nil
}

// String implements pflag.Value.
func (a *age) String() string { return time.Duration(*a).String() }

// Type implements pflag.Value.
func (a *age) Type() string { return "duration" }
