package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/progress"
)

// collectFlags are the flags of the command garbage-collect.
type collectFlags struct {
	gc.Options
	retention     bool
	quiet         bool
	perRepository bool
	online        bool
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
			"manifest that is kept, such as its signature, are kept too. Use --online while registries serve. With\n" +
			"--retention, tags and referrers that the rules of the configuration do not keep are removed, with the\n" +
			"manifests that only they needed. If the command was interrupted at any point, run it again to finish.",
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
	f.BoolVar(&flags.retention, "retention", false, "also remove the tags and referrers that extensions.retention does not keep")
	f.BoolVar(&flags.SkipCorrupt, "skip-corrupt", false, "leave a repository as it is if something in it cannot be read")
	f.BoolVar(&flags.online, "online", false, "collect while registries serve: what somebody uses meanwhile is kept")
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
	if err := requireConfig("garbage-collect", args); err != nil {
		return err
	}
	prepared, err := prepare(ctx, errOut, args, list)
	if err != nil {
		return err
	}
	flags.Reach = prepared.extended.reach
	if flags.retention {
		if flags.Retain, err = prepared.retain(); err != nil {
			return fmt.Errorf("--retention: %w", err)
		}
		flags.Describe = prepared.extended.types.Dated
	}
	shared, err := openSharedCache(prepared.config.Stock)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer shared.close()
	run := prepared.collectOffline
	if flags.online {
		run = prepared.collectOnline
	}
	return collect(ctx, out, errOut, flags, func(ctx context.Context, options gc.Options) (gc.Report, error) {
		report, err := run(ctx, options, shared.forget)
		if err == nil {
			if err := recordCollected(ctx, prepared.driver, report); err != nil {
				_, _ = fmt.Fprintf(errOut, "warning: `registry status` will not know of this collection: %v\n", err)
			}
		}
		return report, err
	})
}

// forgetter makes a shared descriptor cache forget what is gone.
type forgetter func(ctx context.Context, repository string, d digest.Digest) error

// collectOnline collects beside registries that are serving.
func (p *prepared) collectOnline(ctx context.Context, options gc.Options, forget forgetter) (gc.Report, error) {
	pace := p.extended.collection.Pace
	result, err := collection.Collect(ctx, p.driver, collection.RunOptions{
		Options: collection.Options{Pace: collection.Pace(pace), Guard: watch(pace)}, Garbage: options, Forget: forget,
	})
	return result.Report, err
}

// collectOffline collects without asking anybody. Descriptor caches learn of it all the
// same: afterwards, if they cannot be told before, because the storage is full.
func (p *prepared) collectOffline(ctx context.Context, options gc.Options, forget forgetter) (gc.Report, error) {
	var end func(context.Context) error
	var found *gc.Found
	options.Announce = func(ctx context.Context, garbage *gc.Found) (err error) {
		found = garbage
		end, _ = collection.Announce(ctx, p.driver, garbage)
		return ctx.Err()
	}
	report, err := gc.Collect(ctx, p.driver, options)
	if err != nil || found == nil {
		return report, err
	}
	for _, batch := range found.Batches(1) {
		if err := collection.Forget(ctx, found, batch, forget); err != nil {
			return report, err
		}
	}
	if end == nil {
		if end, err = collection.Announce(ctx, p.driver, found); err != nil {
			return report, err
		}
	}
	return report, end(ctx)
}

// collect runs a collector and shows its progress and result.
func collect(ctx context.Context, out, errOut io.Writer, flags collectFlags, run func(context.Context, gc.Options) (gc.Report, error)) error {
	var shown *progress.Reporter
	if !flags.quiet {
		shown = progress.New(errOut, "collecting")
	}
	flags.Progress = shown
	start := time.Now()
	report, err := run(ctx, flags.Options)
	shown.Done()
	for _, problem := range report.Problems {
		_, _ = fmt.Fprintf(errOut, "skipped: %s\n", problem.Reason)
	}
	if report.AllBlobsKept && err == nil {
		_, _ = fmt.Fprintln(errOut, "skipped: all blobs were kept, because it could not be determined which are needed")
	}
	for _, r := range report.Repositories {
		if r.Tags.Kept == 0 && r.Tags.Removed > 0 {
			_, _ = fmt.Fprintf(errOut, "warning: no tag of %s stays\n", r.Name)
		}
	}
	removed := report.Tags.Removed+report.Manifests.Removed+report.LayerLinks.Removed+report.ReferrerLinks.Removed+report.Blobs.Removed > 0
	if err == nil || removed {
		if showErr := show(out, report, flags, time.Since(start)); err == nil {
			err = showErr
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && flags.DryRun:
		return errors.New("garbage-collect: interrupted")
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
	verb := "removed"
	if report.DryRun {
		verb = "removable"
	}
	if flags.format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(reportAs(verb, report))
	}
	if flags.quiet {
		return nil
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
	title := fmt.Sprintf("%s in %s", progress.Count(len(repositories), "repositories"), took.Round(time.Millisecond))
	return writeCounts(out, title, verb, report.Counts, &report.Blobs)
}

// writeCounts writes the counts of one repository, or the totals with blobs.
func writeCounts(out io.Writer, title, verb string, counts gc.Counts, blobs *gc.Count) error {
	var text strings.Builder
	line := func(what, kept, removed string) { fmt.Fprintf(&text, "  %-16s%12s%12s\n", what, kept, removed) }
	count := func(what string, c gc.Count) { line(what, fmt.Sprint(c.Kept), fmt.Sprint(c.Removed)) }
	fmt.Fprintln(&text, title)
	line("", "kept", verb)
	if counts.Tags != (gc.Count{}) {
		count("tags", counts.Tags)
	}
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
