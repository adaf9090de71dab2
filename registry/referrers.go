package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/progress"
	"github.com/oras-distribution/registry/internal/referrers"
)

func newReferrersCommand(list []extensions.Extension) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "referrers",
		Short: "Maintain the index of referrers",
		Args:  cobra.ArbitraryArgs,
		RunE:  subcommandRequired,
	}
	cmd.AddCommand(newRebuildCommand(list), newVerifyCommand(list), newTreeCommand(list))
	return cmd
}

// storageTree is the storage tree that a command works on.
type storageTree struct {
	driver    storagedriver.StorageDriver
	namespace distribution.Namespace
	index     *referrers.Index
	types     *manifest.Types
}

// openTree opens the storage tree of a configuration; the caller closes its index.
// Unless readOnly is set, read-only mode in the configuration is an error.
func openTree(ctx context.Context, path string, list []extensions.Extension, readOnly bool) (*storageTree, error) {
	config, err := config.Load([]string{path})
	if err != nil {
		return nil, err
	}
	extended, err := extend(config, list)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	options := extended.index
	if options.ReadOnly && !readOnly {
		return nil, fmt.Errorf("configuration %s: storage.maintenance.readonly is enabled, so nothing may be written", path)
	}
	if level, err := logrus.ParseLevel(string(config.Stock.Log.Level)); err == nil {
		logrus.SetLevel(min(level, logrus.WarnLevel))
	}
	driver, err := createDriver(ctx, config)
	if err != nil {
		return nil, err
	}
	namespace, err := storage.NewRegistry(ctx, driver)
	if err != nil {
		return nil, err
	}
	options.ReadOnly = options.ReadOnly || readOnly
	options.Observer = newObserver(false)
	return &storageTree{driver, namespace, referrers.New(driver, options), extended.types}, nil
}

// createDriver creates the storage driver of a configuration. Some drivers panic
// over their parameters.
func createDriver(ctx context.Context, c *Config) (driver storagedriver.StorageDriver, err error) {
	defer config.Recovered(&err)
	driver, err = factory.Create(ctx, c.Stock.Storage.Type(), c.Stock.Storage.Parameters())
	if err != nil {
		return nil, fmt.Errorf("storage driver %s: %w", c.Stock.Storage.Type(), err)
	}
	return driver, nil
}

// each calls visit for every repository.
func (t *storageTree) each(ctx context.Context, visit func(repository string) error) error {
	enumerator, ok := t.namespace.(distribution.RepositoryEnumerator)
	if !ok {
		return errors.New("the repositories cannot be enumerated")
	}
	err := enumerator.Enumerate(ctx, func(name string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return visit(name)
	})
	if errors.As(err, new(storagedriver.PathNotFoundError)) {
		return nil // nothing is stored yet
	}
	return err
}

func newRebuildCommand(list []extensions.Extension) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rebuild CONFIG",
		Short: "Link every manifest to its subject",
		Long: "Read every manifest of every repository and link those that have a subject to it. The command may\n" +
			"run while registries are serving, and may be repeated: existing links stay.",
		Args: arguments("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return rebuild(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], list, dryRun)
		},
	}
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "d", false, "only show what would be done")
	return cmd
}

func rebuild(ctx context.Context, out, progressOut io.Writer, path string, list []extensions.Extension, dryRun bool) error {
	tree, err := openTree(ctx, path, list, dryRun)
	if err != nil {
		return err
	}
	defer func() { _ = tree.index.Close(context.WithoutCancel(ctx)) }()
	report := progress.New(progressOut, "reading manifests")
	var total referrers.ScanResult
	repositories := 0
	err = tree.each(ctx, func(name string) error {
		result, err := tree.index.Rebuild(ctx, name, func() { report.Add("manifests", 1) })
		if err != nil {
			return fmt.Errorf("repository %s: %w", name, err)
		}
		repositories++
		report.Add("repositories", 1)
		total.Read += result.Read
		total.Added += result.Added
		total.Unreadable += result.Unreadable
		return nil
	})
	report.Done()
	verb := "written"
	if dryRun {
		verb = "to be written"
	}
	_, _ = fmt.Fprintf(out, "%d repositories, %d manifests read, %d links %s, %d manifests unreadable\n",
		repositories, total.Read, total.Added, verb, total.Unreadable)
	switch {
	case err != nil:
		return fmt.Errorf("incomplete: %w", err)
	case total.Unreadable > 0:
		return fmt.Errorf("incomplete: %d manifests cannot be read", total.Unreadable)
	}
	return nil
}

func newVerifyCommand(list []extensions.Extension) *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "verify CONFIG",
		Short: "Compare every link with every manifest, both ways",
		Long: "Read every manifest and every link, and list those that are missing, malformed or unreadable. The exit\n" +
			"code is 1 if there are any, or with --repair if any could not be repaired. Links whose manifest is gone\n" +
			"are listed as dangling: they are never served, and garbage-collect removes them. The command may run\n" +
			"while registries are serving.",
		Args: arguments("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return verify(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], list, repair)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "write the links that are missing or wrong")
	return cmd
}

func verify(ctx context.Context, out, progressOut io.Writer, path string, list []extensions.Extension, repair bool) error {
	tree, err := openTree(ctx, path, list, !repair)
	if err != nil {
		return err
	}
	defer func() { _ = tree.index.Close(context.WithoutCancel(ctx)) }()
	report := progress.New(progressOut, "verifying links")
	repositories, found, left, dangling := 0, 0, 0, 0
	err = tree.each(ctx, func(name string) error {
		faults, err := tree.index.Verify(ctx, name, repair, func() { report.Add("manifests and links", 1) })
		for _, f := range faults {
			state := ""
			switch {
			case f.Kind == referrers.FaultDangling:
				dangling++
			case f.Repaired:
				state = " (repaired)"
				found++
			default:
				found++
				left++
			}
			_, _ = fmt.Fprintf(out, "%s %s: %s%s\n", f.Kind, f.Path, f.Reason, state)
		}
		repositories++
		report.Add("repositories", 1)
		if err != nil {
			return fmt.Errorf("repository %s: %w", name, err)
		}
		return nil
	})
	report.Done()
	_, _ = fmt.Fprintf(out, "%d repositories, %d faults, %d of them repaired; %d dangling links\n", repositories, found, found-left, dangling)
	switch {
	case err != nil:
		return fmt.Errorf("incomplete: %w", err)
	case left > 0:
		return fmt.Errorf("%d faults in the index", left)
	}
	return nil
}
