package registry

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
)

// version is set by the linker.
var version = ""

// Main runs the command that the process was started with and returns its exit
// code. The extensions are served in the order in which they stand.
func Main(list ...extensions.Extension) int {
	root := &cobra.Command{
		Use:           "registry",
		Short:         "A container registry with reference types",
		Long:          "registry is distribution's registry that also keeps what refers to an image:\nsignatures, SBOMs, attestations.",
		Version:       Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Name}} github.com/oras-distribution/registry {{.Version}}\n")
	root.Flags().BoolP("version", "v", false, "show the version and exit")
	root.AddCommand(newServeCommand(list), newReferrersCommand(list), newCollectCommand(list))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "registry: "+oneLine(err))
		return 1
	}
	return 0
}

// Version is what this binary was built from.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
