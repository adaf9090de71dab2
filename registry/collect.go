package registry

import "github.com/spf13/cobra"

// newCollectCommand is the command garbage-collect.
func newCollectCommand() *cobra.Command {
	return &cobra.Command{Use: "garbage-collect <config>", Short: "Remove what nothing refers to"}
}
