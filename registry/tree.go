package registry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/tree"
)

func newTreeCommand(list []extensions.Extension) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "tree CONFIG REPOSITORY[:TAG|@DIGEST]",
		Short: "Show the referrers of a manifest as a tree",
		Long:  "Show the referrers of a manifest, and their referrers. Without a tag or digest, show those of all tags.",
		Args:  arguments("CONFIG", "REPOSITORY[:TAG|@DIGEST]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := treeFormats[format]
			if !ok {
				return fmt.Errorf("--format must be tree, json or mermaid, not %q", format)
			}
			nodes, err := readTree(cmd.Context(), args[0], args[1], list)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), nodes)
		},
	}
	cmd.Flags().StringVar(&format, "format", "tree", "output format: tree, json or mermaid")
	return cmd
}

var treeFormats = map[string]func(io.Writer, []*tree.Node) error{
	"tree": tree.Text, "json": tree.JSON, "mermaid": tree.Mermaid,
}

// readTree reads the trees below the manifests that a reference names.
func readTree(ctx context.Context, path, ref string, list []extensions.Extension) ([]*tree.Node, error) {
	name, err := reference.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("%q is not REPOSITORY[:TAG|@DIGEST]: %w", ref, err)
	}
	named, ok := name.(reference.Named)
	if !ok {
		return nil, fmt.Errorf("%q names no repository", ref)
	}
	opened, err := openTree(ctx, path, list, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.index.Close(context.WithoutCancel(ctx)) }()
	repository, err := opened.namespace.Repository(ctx, reference.TrimNamed(named))
	if err != nil {
		return nil, err
	}
	roots, err := opened.roots(ctx, repository, named)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		// Referrers may form cycles.
		if err := opened.attach(ctx, repository.Named().Name(), root, map[digest.Digest]bool{root.Digest: true}); err != nil {
			return nil, err
		}
	}
	return roots, nil
}

func (t *storageTree) roots(ctx context.Context, repository distribution.Repository, named reference.Named) ([]*tree.Node, error) {
	name := repository.Named().Name()
	if digested, ok := named.(reference.Digested); ok {
		root, err := t.root(ctx, name, digested.Digest(), name+"@"+digested.Digest().String())
		return []*tree.Node{root}, err
	}
	tags := []string{}
	if tagged, ok := named.(reference.Tagged); ok {
		tags = append(tags, tagged.Tag())
	} else {
		all, err := repository.Tags(ctx).All(ctx)
		if err != nil {
			return nil, fmt.Errorf("the tags of %s: %w", name, err)
		}
		tags = all
	}
	roots := make([]*tree.Node, 0, len(tags))
	for _, tag := range tags {
		desc, err := repository.Tags(ctx).Get(ctx, tag)
		if err != nil {
			return nil, fmt.Errorf("%s:%s: %w", name, tag, err)
		}
		root, err := t.root(ctx, name, desc.Digest, name+":"+tag)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	return roots, nil
}

func (t *storageTree) root(ctx context.Context, repository string, d digest.Digest, ref string) (*tree.Node, error) {
	there, err := t.index.HasRevision(ctx, repository, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	if !there {
		return nil, fmt.Errorf("%s: manifest %s is not in the repository", ref, d)
	}
	root := &tree.Node{Reference: ref, Digest: d, Referrers: []*tree.Node{}}
	err = layout.NewReader(t.driver, 1).Manifest(ctx, d, func(content []byte) error {
		m, err := t.types.Parse(content)
		if err != nil {
			return err
		}
		root.MediaType, root.ArtifactType, root.Size = m.MediaType, m.ArtifactType, int64(len(content))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: manifest %s: %w", ref, d, err)
	}
	return root, nil
}

func (t *storageTree) attach(ctx context.Context, repository string, parent *tree.Node, seen map[digest.Digest]bool) error {
	set, err := t.index.Referrers(ctx, repository, parent.Digest)
	if err != nil {
		return err
	}
	for _, r := range set.Referrers {
		child := &tree.Node{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size, ArtifactType: r.ArtifactType, Referrers: []*tree.Node{}}
		parent.Referrers = append(parent.Referrers, child)
		if child.Repeated = seen[r.Digest]; child.Repeated {
			continue
		}
		seen[r.Digest] = true
		if err := t.attach(ctx, repository, child, seen); err != nil {
			return err
		}
	}
	slices.SortFunc(parent.Referrers, func(a, b *tree.Node) int {
		return cmp.Or(cmp.Compare(a.ArtifactType, b.ArtifactType), cmp.Compare(a.Digest, b.Digest))
	})
	return nil
}
