package registry

import (
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
)

func newReferrersCommand(_ []extensions.Extension) *cobra.Command {
	return &cobra.Command{Use: "referrers", Short: "Look after the index of referrers"}
}
