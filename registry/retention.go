package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/progress"
	"github.com/oras-distribution/registry/internal/retention"
)

func newRetentionCommand(list []extensions.Extension) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retention",
		Short: "Check the rules of what stays",
		Args:  cobra.ArbitraryArgs,
		RunE:  subcommandRequired,
	}
	var format string
	check := &cobra.Command{
		Use:   "check CONFIG [REPOSITORY…]",
		Short: "Show which tags and referrers stay, and why",
		Long: "Show which tags stay and which go by the rules of the configuration, and which referrers are not among\n" +
			"the newest. Without a repository, show all. Nothing is removed: that does garbage-collect --retention.",
		Args: arguments("CONFIG", "[REPOSITORY…]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkRetention(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, list, format)
		},
	}
	check.Flags().StringVar(&format, "format", "text", "format of the output: text or json")
	cmd.AddCommand(check)
	return cmd
}

var errNoRules = errors.New("the configuration has no extensions.retention.rules: everything stays")

// retain is what the rules of the configuration say, for the collector.
func (p *prepared) retain() (func(repository string) *retention.Rule, error) {
	if p.extended.rules.Empty() {
		return nil, errNoRules
	}
	return p.extended.rules.For, nil
}

// checkRetention shows what the rules make of the repositories that the arguments name
// behind the configuration.
func checkRetention(ctx context.Context, out, errOut io.Writer, args []string, list []extensions.Extension, format string) error {
	if format != "text" && format != "json" {
		return fmt.Errorf("--format: must be text or json, not %q", format)
	}
	prepared, err := prepare(ctx, errOut, args[:1], list)
	if err != nil {
		return err
	}
	options := gc.Options{Reach: prepared.extended.reach, Describe: prepared.extended.types.Dated}
	if options.Retain, err = prepared.retain(); err != nil {
		return err
	}
	retained, err := gc.Retention(ctx, prepared.driver, options, args[1:]...)
	if err != nil {
		return err
	}
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(retained)
	}
	for i, r := range retained {
		if i > 0 {
			_, _ = fmt.Fprintln(out)
		}
		if err := writeRetained(out, r); err != nil {
			return err
		}
	}
	return nil
}

// writeRetained writes what the rules make of one repository.
func writeRetained(out io.Writer, r gc.Retained) error {
	if r.Rule == "" {
		_, err := fmt.Fprintf(out, "%s: there is no rule for it, everything stays\n", r.Name)
		return err
	}
	going := 0
	for _, tag := range r.Tags {
		if !tag.Stays {
			going++
		}
	}
	_, _ = fmt.Fprintf(out, "%s: %s, %d of %s go\n", r.Name, r.Rule, going, progress.Count(len(r.Tags), "tags"))
	if r.Emptied {
		_, _ = fmt.Fprintf(out, "warning: no tag of %s stays\n", r.Name)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, tag := range r.Tags {
		_, _ = fmt.Fprintf(table, "  %s\ttag %s\t%s\t%s\n", stays(tag.Stays), tag.Name, date(tag.Set), tag.Reason)
	}
	for _, referrer := range r.Referrers {
		_, _ = fmt.Fprintf(table, "  %s\treferrer %s of %s\t%s\t%s: %s\n", stays(referrer.Stays), referrer.Digest, referrer.Subject,
			date(referrer.Created), referrer.ArtifactType, referrer.Reason)
	}
	for _, m := range r.Manifests {
		used := m.Pulled
		if used.IsZero() {
			used = m.Stored
		}
		_, _ = fmt.Fprintf(table, "  %s\tmanifest %s\t%s\t%s\n", stays(m.Stays), m.Digest, date(used), m.Reason)
	}
	return table.Flush()
}

func stays(yes bool) string {
	if yes {
		return "stays"
	}
	return "goes"
}

// date is a time as the table shows it.
func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
