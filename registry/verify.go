package registry

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/progress"
	"github.com/oras-distribution/registry/internal/referrers"
)

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

// What seems to be missing while registries serve is asked for again, so often and after such
// pauses. Where more is missing than maxDoubted, it is not because of pushes that are under way.
const (
	doubts     = 3
	doubtPause = time.Second
	maxDoubted = 10_000
)

// verification is what a run of the command has found.
type verification struct {
	*storageTree
	out    io.Writer
	repair bool

	repositories, found, left, dangling int
	doubted                             []referrers.Fault // that may only seem to be there
}

func verify(ctx context.Context, out, progressOut io.Writer, path string, list []extensions.Extension, repair bool) error {
	tree, err := openTree(ctx, progressOut, path, list, !repair)
	if err != nil {
		return err
	}
	defer func() { _ = tree.index.Close(context.WithoutCancel(ctx)) }()
	v := &verification{storageTree: tree, out: out, repair: repair}
	report := progress.New(progressOut, "verifying links")
	err = tree.each(ctx, func(name string) error {
		faults, err := tree.index.Verify(ctx, name, repair, func() { report.Add("checked", 1) })
		v.add(faults)
		v.repositories++
		report.Add("repositories", 1)
		if err != nil {
			return fmt.Errorf("repository %s: %w", name, err)
		}
		return nil
	})
	if err == nil {
		err = v.doubt(ctx)
	}
	report.Done()
	v.show(v.doubted)
	v.summarize()
	switch {
	case err != nil:
		return fmt.Errorf("incomplete: %w", err)
	case v.left > 0:
		return fmt.Errorf("%s in the index", progress.Count(v.left, "faults"))
	}
	return nil
}

// add shows faults, but for those that are asked for again at the end.
func (v *verification) add(faults []referrers.Fault) {
	v.show(slices.DeleteFunc(faults, func(f referrers.Fault) bool {
		is := !v.repair && f.Kind == referrers.FaultMissing && len(v.doubted) < maxDoubted
		if is {
			v.doubted = append(v.doubted, f)
		}
		return is
	}))
}

// doubt leaves of the faults that are doubted those that are still there after a while.
func (v *verification) doubt(ctx context.Context) (err error) {
	for range doubts {
		if len(v.doubted) == 0 || len(v.doubted) == maxDoubted {
			return nil
		}
		select {
		case <-time.After(doubtPause):
		case <-ctx.Done():
			return ctx.Err()
		}
		if v.doubted, err = v.index.StillMissing(ctx, v.doubted); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) show(faults []referrers.Fault) {
	for _, f := range faults {
		state := ""
		switch {
		case f.Kind == referrers.FaultDangling:
			v.dangling++
		case f.Repaired:
			state = " (repaired)"
			v.found++
		default:
			v.found++
			v.left++
		}
		_, _ = fmt.Fprintf(v.out, "%s %s: %s%s\n", f.Kind, f.Path, f.Reason, state)
	}
}

func (v *verification) summarize() {
	repaired := ""
	if v.repair {
		repaired = fmt.Sprintf(", %d of them repaired", v.found-v.left)
	}
	_, _ = fmt.Fprintf(v.out, "%s, %s%s; %s\n", progress.Count(v.repositories, "repositories"), progress.Count(v.found, "faults"),
		repaired, progress.Count(v.dangling, "dangling links"))
}
