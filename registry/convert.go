package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/convert"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/progress"
)

// convertFlags are the flags of the command referrers convert.
type convertFlags struct {
	dryRun bool
	format string
}

func newConvertCommand(list []extensions.Extension) *cobra.Command {
	var flags convertFlags
	cmd := &cobra.Command{
		Use:   "convert CONFIG [REPOSITORY…]",
		Short: "Convert ORAS artifact manifests to OCI image manifests",
		Long: "For each ORAS artifact manifest, store an OCI 1.1 image manifest with the same artifact type, blobs and\n" +
			"annotations, attached to the same subject or, if that is an ORAS artifact too, to its conversion. Clients\n" +
			"that know no ORAS artifacts can then find, copy and pull what older clients have attached. The originals\n" +
			"and their tags stay. Without REPOSITORY, convert all repositories. The command may run while registries\n" +
			"are serving, and may be repeated: what has been converted stays as it is. If it was interrupted at any\n" +
			"point, run it again to finish.",
		Args: arguments("CONFIG", "[REPOSITORY…]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConvert(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], args[1:], list, flags)
		},
	}
	cmd.Flags().BoolVarP(&flags.dryRun, "dry-run", "d", false, "store nothing, only show what would be converted")
	cmd.Flags().StringVar(&flags.format, "format", "text", "format of the result: text or json")
	return cmd
}

func runConvert(ctx context.Context, out, progressOut io.Writer, path string, names []string, list []extensions.Extension, flags convertFlags) error {
	if flags.format != "text" && flags.format != "json" {
		return fmt.Errorf("--format: must be text or json, not %q", flags.format)
	}
	tree, err := openTree(ctx, progressOut, path, list, flags.dryRun)
	if err != nil {
		return err
	}
	defer func() { _ = tree.index.Close(context.WithoutCancel(ctx)) }()
	if tree.proxy {
		return fmt.Errorf("configuration %s: a pull-through cache has only what its upstream has: convert it there", path)
	}
	named, err := tree.named(ctx, names)
	if err != nil {
		return err
	}
	logrus.SetLevel(logrus.FatalLevel) // distribution logs the errors that it returns, and each blob that has two digests
	var work func(context.Context) (context.Context, func() error)
	if !flags.dryRun {
		replica, err := tree.takePart(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = replica.Close(context.WithoutCancel(ctx)) }()
		work = replica.Work
	}
	shown := progress.New(progressOut, "converting")
	summary := &conversions{out: out, flags: flags, DryRun: flags.dryRun, Manifests: []convert.Result{}}
	converter := convert.New(tree.driver,
		namespace.New(tree.namespace, tree.driver, tree.index, namespace.Options{Types: tree.types}), tree.index,
		convert.Options{
			Types: tree.types, DryRun: flags.dryRun, Concurrency: tree.concurrency, Work: work, Progress: shown, Report: summary.add,
		})
	err = tree.eachOf(ctx, named, func(name reference.Named) error {
		if err := converter.Repository(ctx, name); err != nil {
			return fmt.Errorf("repository %s: %w", name.Name(), err)
		}
		summary.Repositories++
		shown.Add("repositories", 1)
		return nil
	})
	shown.Done()
	if showErr := summary.show(); err == nil {
		err = showErr
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; run it again to finish")
	case err != nil:
		return fmt.Errorf("incomplete: %w", err)
	case summary.Failed > 0:
		return fmt.Errorf("%s could not be converted", progress.Count(summary.Failed, "manifests"))
	}
	return nil
}

// takePart makes this process one that garbage collections wait for, until it is closed.
func (t *storageTree) takePart(ctx context.Context) (*collection.Replica, error) {
	replica := collection.NewReplica(t.driver, collection.Options{Pace: collection.Pace(t.pace), Guard: watch(t.pace)})
	if err := replica.Start(ctx); err != nil {
		return nil, errors.Join(err, replica.Close(context.WithoutCancel(ctx)))
	}
	return replica, nil
}

// named parses the names of repositories. One without manifests is an error.
func (t *storageTree) named(ctx context.Context, texts []string) (named []reference.Named, err error) {
	for _, text := range texts {
		name, err := reference.WithName(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not the name of a repository: %w", text, err)
		}
		switch _, err = t.driver.Stat(ctx, layout.Manifests(text)); {
		case layout.IsNotFound(err):
			return nil, fmt.Errorf("there is no repository %q with manifests", text)
		case err != nil:
			return nil, fmt.Errorf("repository %s: %w", text, err)
		}
		if !slices.ContainsFunc(named, func(n reference.Named) bool { return n.Name() == text }) {
			named = append(named, name)
		}
	}
	return named, nil
}

// eachOf visits the given repositories, or all if none is given.
func (t *storageTree) eachOf(ctx context.Context, named []reference.Named, visit func(reference.Named) error) error {
	if len(named) == 0 {
		return t.each(ctx, func(text string) error {
			name, err := reference.WithName(text)
			if err != nil {
				return err
			}
			return visit(name)
		})
	}
	for _, name := range named {
		if err := visit(name); err != nil {
			return err
		}
	}
	return nil
}

// conversions is what a run came to.
type conversions struct {
	DryRun       bool             `json:"dryRun"`
	Repositories int              `json:"repositories"`
	Converted    int              `json:"converted"`
	Pending      int              `json:"pending"`
	Unchanged    int              `json:"unchanged"`
	Skipped      int              `json:"skipped"`
	Failed       int              `json:"failed"`
	Manifests    []convert.Result `json:"manifests"`

	out   io.Writer
	flags convertFlags
}

// add counts a result. As text, what was not converted is shown at once.
func (c *conversions) add(r convert.Result) {
	switch r.State {
	case convert.Converted:
		c.Converted++
	case convert.Pending:
		c.Pending++
	case convert.Unchanged:
		c.Unchanged++
	case convert.Skipped:
		c.Skipped++
	case convert.Failed:
		c.Failed++
	}
	if c.flags.format == "json" {
		c.Manifests = append(c.Manifests, r)
	} else if r.Reason != "" {
		_, _ = fmt.Fprintf(c.out, "%s %s@%s: %s\n", r.State, r.Repository, r.Digest, r.Reason)
	}
}

// show writes the summary.
func (c *conversions) show() error {
	if c.flags.format == "json" {
		encoder := json.NewEncoder(c.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(c)
	}
	done := fmt.Sprintf("%d converted", c.Converted)
	if c.DryRun {
		done = fmt.Sprintf("%d to be converted", c.Pending)
	}
	_, err := fmt.Fprintf(c.out, "%s: %s, %d already converted, %d skipped, %d failed\n",
		progress.Count(c.Repositories, "repositories"), done, c.Unchanged, c.Skipped, c.Failed)
	return err
}
