package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/layout"
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
	cmd.AddCommand(newRebuildCommand(list), newVerifyCommand(list), newTreeCommand(list), newConvertCommand(list))
	return cmd
}

// storageTree is the storage tree that a command works on.
type storageTree struct {
	driver    storagedriver.StorageDriver
	namespace distribution.Namespace
	index     *referrers.Index
	types     *manifest.Types

	concurrency int           // storage operations at a time, as configured
	pace        time.Duration // of garbage collections
	proxy       bool          // it belongs to a pull-through cache
}

// openTree opens the storage tree of a configuration; the caller closes its index.
// With readOnly, nothing is written to it. Otherwise read-only mode in the configuration
// is an error.
func openTree(ctx context.Context, errOut io.Writer, path string, list []extensions.Extension, readOnly bool) (*storageTree, error) {
	prepared, err := prepare(ctx, errOut, []string{path}, list)
	if err != nil {
		return nil, err
	}
	driver := prepared.driver
	switch {
	case readOnly:
		driver = layout.ReadOnly{StorageDriver: driver}
	case prepared.config.ReadOnly():
		return nil, fmt.Errorf("configuration %s: storage.maintenance.readonly is enabled, so nothing may be written", path)
	}
	return treeOf(ctx, prepared, driver)
}

// treeOf is the storage tree below a driver.
func treeOf(ctx context.Context, prepared *prepared, driver storagedriver.StorageDriver) (*storageTree, error) {
	namespace, err := storage.NewRegistry(ctx, driver)
	if err != nil {
		return nil, err
	}
	options := prepared.extended.index
	options.Observer = newObserver(false)
	return &storageTree{
		driver: driver, namespace: namespace, index: referrers.New(driver, options), types: prepared.extended.types,
		concurrency: options.Concurrency, pace: prepared.extended.collection.Pace, proxy: prepared.config.IsProxy(),
	}, nil
}

// createDriver creates the storage driver of a configuration. Some drivers panic
// over their parameters.
func createDriver(ctx context.Context, c configuration.Storage) (driver storagedriver.StorageDriver, err error) {
	defer config.Recovered(&err)
	driver, err = factory.Create(ctx, c.Type(), c.Parameters())
	if err != nil {
		return nil, fmt.Errorf("storage.%s: %w", c.Type(), err)
	}
	return driver, nil
}

// each calls visit for every repository.
func (t *storageTree) each(ctx context.Context, visit func(repository string) error) error {
	enumerator, ok := t.namespace.(distribution.RepositoryEnumerator)
	if !ok {
		return errors.New("the repositories cannot be enumerated")
	}
	var visitErr error
	err := enumerator.Enumerate(ctx, func(name string) error {
		if visitErr = ctx.Err(); visitErr == nil {
			visitErr = visit(name)
		}
		return visitErr
	})
	if visitErr != nil {
		return visitErr // without what a driver says around it
	}
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
	tree, err := openTree(ctx, progressOut, path, list, dryRun)
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
	_, _ = fmt.Fprintf(out, "%s, %s read, %s %s, %s unreadable\n", progress.Count(repositories, "repositories"),
		progress.Count(total.Read, "manifests"), progress.Count(total.Added, "links"), verb, progress.Count(total.Unreadable, "manifests"))
	switch {
	case err != nil:
		return fmt.Errorf("incomplete: %w", err)
	case total.Unreadable > 0:
		return fmt.Errorf("incomplete: %s cannot be read", progress.Count(total.Unreadable, "manifests"))
	}
	return nil
}
