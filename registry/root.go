package registry

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
)

// version and revision are set by the linker.
var version, revision string

// Main runs the command that the process was started with and returns its exit code.
// The extensions are served in the given order.
func Main(list ...extensions.Extension) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := newRoot(list).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "registry: "+oneLine(err))
		return 1
	}
	return 0
}

// newRoot creates the root command.
func newRoot(list []extensions.Extension) *cobra.Command {
	root := &cobra.Command{
		Use:           "registry",
		Short:         "A container registry with reference types",
		Long:          "registry is distribution's registry that also stores, serves and lists what refers to an image:\nsignatures, SBOMs, attestations.",
		Version:       Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE:          subcommandRequired,
	}
	root.SetVersionTemplate("{{.Name}} github.com/oras-distribution/registry {{.Version}}\n")
	root.Flags().BoolP("version", "v", false, "show the version and exit")
	root.AddCommand(newServeCommand(list), newReferrersCommand(list), newCollectCommand(list), newRetentionCommand(list), newMirrorCommand(list),
		newConfigCommand(list), newStatusCommand(list), newVersionCommand())
	return root
}

// Version is the version that this binary was built from.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// newVersionCommand creates the command version.
func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the versions of the registry, of distribution and of Go, and the commit",
		Args:  arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "registry     %s\ndistribution %s\ngo           %s\ncommit       %s\n",
				Version(), moduleVersion(distributionModule), strings.TrimPrefix(runtime.Version(), "go"), commit())
			return err
		},
	}
}

const distributionModule = "github.com/distribution/distribution/v3"

// moduleVersion is the version of a module that this binary was built with.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return "unknown"
}

// commit is the commit that this binary was built from, if the build has recorded it.
func commit() string {
	if revision != "" {
		return revision
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return "unknown"
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
