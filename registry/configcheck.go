package registry

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/progress"
)

func newConfigCommand(list []extensions.Extension) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration",
		Args:  cobra.ArbitraryArgs,
		RunE:  subcommandRequired,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "check CONFIG",
		Short: "Show what is wrong with a configuration, and what is in effect",
		Long: "Show what is wrong with a configuration, unknown keys included, and the configuration in effect: the file\n" +
			"with the REGISTRY_* variables and the defaults of this registry, without secrets. The exit code is 1 if\n" +
			"anything is wrong. Nothing is served, and nothing is written.",
		Args: arguments("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkConfig(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, list)
		},
	})
	return cmd
}

// checkConfig shows the problems of a configuration on errOut and what is in effect on out.
func checkConfig(ctx context.Context, out, errOut io.Writer, args []string, list []extensions.Extension) error {
	file, err := config.Find(args)
	if err != nil {
		return err
	}
	problems := 0
	report := func(kind, text string) {
		for line := range strings.Lines(text) {
			problems++
			_, _ = fmt.Fprintf(errOut, "%s: %s\n", kind, config.RedactText(strings.TrimSpace(line), false))
		}
	}
	for _, warning := range config.Warnings(file.Text) {
		report("warning", warning)
	}
	sections, formErr := config.Sections(file.Text)
	loaded, err := file.Parse()
	if err != nil {
		if formErr != nil {
			report("error", formErr.Error())
		} else {
			report("error", oneLine(err))
		}
		// What the sections of the extensions say can be told without the rest.
		if _, err := extend(&config.Config{Stock: new(configuration.Configuration), Extensions: sections}, list); err != nil {
			report("error", err.Error())
		}
		return found(problems)
	}
	withDefaults(loaded)
	extended, err := extend(loaded, list)
	if err != nil {
		report("error", err.Error())
		loaded.Warnings = append(loaded.Warnings, strings.Split(err.Error(), "\n")...) // of unknown keys, nothing is shown
	} else {
		loaded.Extensions = extended.inEffect(loaded.Extensions, list)
	}
	text, err := loaded.YAML()
	if err != nil {
		return err
	}
	if err := acceptable(ctx, loaded.Stock, true); err != nil {
		report("error", err.Error())
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	return found(problems)
}

func found(problems int) error {
	if problems == 0 {
		return nil
	}
	return fmt.Errorf("config check: found %s", progress.Count(problems, "problems"))
}
