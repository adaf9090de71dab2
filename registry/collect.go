package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/progress"
)

// collectFlags are the flags of the command garbage-collect.
type collectFlags struct {
	gc.Options
	quiet         bool
	perRepository bool
	format        string
}

// newCollectCommand creates the command garbage-collect. Its first three flags are
// those of a stock binary.
func newCollectCommand(list []extensions.Extension) *cobra.Command {
	var flags collectFlags
	cmd := &cobra.Command{
		Use:   "garbage-collect [CONFIG]",
		Short: "Remove content that no manifest needs",
		Long: "Remove the blobs that no manifest needs and, if asked to, the manifests that no tag needs. Referrers of a\n" +
			"manifest that is kept, such as its signature, are kept too. Use --older-than while a registry accepts\n" +
			"pushes. If the command was interrupted at any point, run it again to finish.",
		Args: arguments("[CONFIG]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCollect(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, list, flags)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&flags.DryRun, "dry-run", "d", false, "remove nothing, only show what would be removed")
	f.BoolVarP(&flags.Untagged, "delete-untagged", "m", false, "also remove manifests that no tag needs")
	f.BoolVarP(&flags.quiet, "quiet", "q", false, "show neither progress nor a summary")
	f.BoolVar(&flags.Dangling, "delete-dangling-referrers", false, "also remove untagged referrers whose subject does not exist")
	f.BoolVar(&flags.SkipCorrupt, "skip-corrupt", false, "leave a repository as it is if something in it cannot be read")
	f.Var((*age)(&flags.OlderThan), "older-than", "keep content that was pushed more recently than this (36h, 1d, 2w)")
	f.IntVar(&flags.Concurrency, "concurrency", gc.DefaultConcurrency, "storage operations at a time")
	f.BoolVar(&flags.perRepository, "per-repository", false, "also show the counts of each repository")
	f.StringVar(&flags.format, "format", "text", "format of the summary: text or json")
	return cmd
}

func runCollect(ctx context.Context, out, errOut io.Writer, args []string, list []extensions.Extension, flags collectFlags) error {
	switch {
	case flags.format != "text" && flags.format != "json":
		return fmt.Errorf("--format: must be text or json, not %q", flags.format)
	case flags.Concurrency < 1:
		return fmt.Errorf("--concurrency: must be at least 1, not %d", flags.Concurrency)
	case flags.OlderThan < 0:
		return fmt.Errorf("--older-than: must not be negative, not %s", flags.OlderThan)
	}
	loaded, err := loadNamed("garbage-collect", args)
	if err != nil {
		return err
	}
	extended, err := extend(loaded, list)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	flags.Reach = extended.reach
	driver, err := createDriver(ctx, loaded)
	if err != nil {
		return err
	}
	return collect(ctx, out, errOut, driver, flags)
}

// collect runs the collector on a storage driver and shows its progress and result.
func collect(ctx context.Context, out, errOut io.Writer, driver storagedriver.StorageDriver, flags collectFlags) error {
	var shown *progress.Reporter
	if !flags.quiet {
		shown = progress.New(errOut, "collecting")
	}
	flags.Progress = shown
	start := time.Now()
	report, err := gc.Collect(ctx, driver, flags.Options)
	shown.Done()
	for _, problem := range report.Problems {
		_, _ = fmt.Fprintf(errOut, "skipped: %s\n", problem.Reason)
	}
	if report.AllBlobsKept && err == nil {
		_, _ = fmt.Fprintln(errOut, "skipped: all blobs were kept, because it could not be determined which are needed")
	}
	removed := report.Manifests.Removed+report.LayerLinks.Removed+report.ReferrerLinks.Removed+report.Blobs.Removed > 0
	if err == nil || removed {
		if showErr := show(out, report, flags, time.Since(start)); err == nil {
			err = showErr
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && removed:
		return errors.New("garbage-collect: interrupted; run it again to finish")
	case ctx.Err() != nil:
		return errors.New("garbage-collect: interrupted; nothing was removed")
	}
	return fmt.Errorf("garbage-collect: %w", err)
}

// show writes the summary.
func show(out io.Writer, report gc.Report, flags collectFlags, took time.Duration) error {
	repositories := report.Repositories
	if !flags.perRepository {
		report.Repositories = nil
	}
	if flags.format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	if flags.quiet {
		return nil
	}
	verb := "removed"
	if report.DryRun {
		verb = "removable"
	}
	for _, r := range report.Repositories {
		title := r.Name
		if r.Skipped {
			title += " (skipped)"
		}
		if err := writeCounts(out, title, verb, r.Counts, nil); err != nil {
			return err
		}
	}
	title := fmt.Sprintf("%d repositories in %s", len(repositories), took.Round(time.Millisecond))
	return writeCounts(out, title, verb, report.Counts, &report.Blobs)
}

// writeCounts writes the counts of one repository, or the totals with blobs.
func writeCounts(out io.Writer, title, verb string, counts gc.Counts, blobs *gc.Count) error {
	var text strings.Builder
	line := func(what, kept, removed string) { fmt.Fprintf(&text, "  %-16s%12s%12s\n", what, kept, removed) }
	count := func(what string, c gc.Count) { line(what, fmt.Sprint(c.Kept), fmt.Sprint(c.Removed)) }
	fmt.Fprintln(&text, title)
	line("", "kept", verb)
	count("manifests", counts.Manifests)
	count("layer links", counts.LayerLinks)
	count("referrer links", counts.ReferrerLinks)
	if blobs != nil {
		count("blobs", *blobs)
	}
	line("bytes", size(counts.Bytes.Kept), size(counts.Bytes.Removed))
	_, err := io.WriteString(out, text.String())
	return err
}

func size(bytes int64) string { return humanize.Bytes(uint64(max(bytes, 0))) }
