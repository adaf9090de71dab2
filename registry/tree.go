package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/tree"
)

func newTreeCommand(list []extensions.Extension) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "tree CONFIG REPOSITORY[:TAG|@DIGEST]",
		Short: "Show the referrers of a manifest as a tree",
		Long: "Show the referrers of a manifest, and their referrers. An index is shown with the manifests that it lists.\n" +
			"Without a tag or digest, show those of all tags.",
		Args: arguments("CONFIG", "REPOSITORY[:TAG|@DIGEST]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := treeFormats[format]
			if !ok {
				return fmt.Errorf("--format must be tree, json or mermaid, not %q", format)
			}
			nodes, err := readTree(cmd.Context(), cmd.ErrOrStderr(), args[0], args[1], list)
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
func readTree(ctx context.Context, errOut io.Writer, config, ref string, list []extensions.Extension) ([]*tree.Node, error) {
	name, err := reference.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("%q is not of the form REPOSITORY[:TAG|@DIGEST]: %w", ref, err)
	}
	named, ok := name.(reference.Named)
	if !ok {
		return nil, fmt.Errorf("%q names no repository", ref)
	}
	opened, err := openTree(ctx, errOut, config, list, true)
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
		if err := opened.complete(ctx, repository.Named().Name(), root, map[digest.Digest]bool{root.Digest: true}); err != nil {
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
	tags := repository.Tags(ctx)
	all, err := tags.All(ctx)
	switch {
	case errors.As(err, new(distribution.ErrRepositoryUnknown)):
		return nil, t.withoutTags(ctx, name)
	case err != nil:
		return nil, fmt.Errorf("the tags of %s: %w", name, err)
	}
	if tagged, ok := named.(reference.Tagged); ok {
		all = []string{tagged.Tag()}
	}
	roots := make([]*tree.Node, 0, len(all))
	for _, tag := range all {
		desc, err := tags.Get(ctx, tag)
		if errors.As(err, new(distribution.ErrTagUnknown)) {
			return nil, fmt.Errorf("%s:%s: there is no such tag in the repository", name, tag)
		} else if err != nil {
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

// withoutTags says what is wrong with the name of a repository in which there are no tags.
func (t *storageTree) withoutTags(ctx context.Context, name string) error {
	switch _, err := t.driver.Stat(ctx, layout.Manifests(name)); {
	case layout.IsNotFound(err):
		return fmt.Errorf("%s: there is no such repository", name)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%s: the repository has no tags; name a manifest by its digest", name)
}

func (t *storageTree) root(ctx context.Context, repository string, d digest.Digest, ref string) (*tree.Node, error) {
	there, err := t.index.HasRevision(ctx, repository, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	if !there {
		return nil, fmt.Errorf("%s: there is no manifest %s in the repository", ref, d)
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

// complete adds to a node what is below it: the children of an index, and the referrers.
func (t *storageTree) complete(ctx context.Context, repository string, parent *tree.Node, seen map[digest.Digest]bool) error {
	if err := t.addChildren(ctx, repository, parent); err != nil {
		return err
	}
	if err := t.addReferrers(ctx, repository, parent); err != nil {
		return err
	}
	for _, child := range slices.Concat(parent.Manifests, parent.Referrers) {
		if child.Repeated = seen[child.Digest] && !child.Missing; child.Repeated || child.Missing {
			continue
		}
		seen[child.Digest] = true
		if err := t.complete(ctx, repository, child, seen); err != nil {
			return err
		}
	}
	return nil
}

// addChildren adds the manifests that an index lists, in its order.
func (t *storageTree) addChildren(ctx context.Context, repository string, parent *tree.Node) error {
	if parent.MediaType != v1.MediaTypeImageIndex && parent.MediaType != manifest.MediaTypeDockerList {
		return nil
	}
	var index v1.Index
	err := layout.NewReader(t.driver, 1).Manifest(ctx, parent.Digest, func(content []byte) error { return json.Unmarshal(content, &index) })
	if err != nil {
		return fmt.Errorf("manifest %s: %w", parent.Digest, err)
	}
	for _, desc := range index.Manifests {
		child := &tree.Node{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size, ArtifactType: desc.ArtifactType, Referrers: []*tree.Node{}}
		if p := desc.Platform; p != nil {
			child.Platform = path.Join(p.OS, p.Architecture, p.Variant)
		}
		if desc.Digest.Validate() == nil {
			there, err := t.index.HasRevision(ctx, repository, desc.Digest)
			if err != nil {
				return fmt.Errorf("manifest %s: %w", desc.Digest, err)
			}
			child.Missing = !there
			parent.Manifests = append(parent.Manifests, child)
		}
	}
	return nil
}

// addReferrers adds the referrers of a manifest, by type and digest.
func (t *storageTree) addReferrers(ctx context.Context, repository string, parent *tree.Node) error {
	set, err := t.index.Referrers(ctx, repository, parent.Digest)
	if err != nil {
		return err
	}
	for _, r := range set.Referrers {
		parent.Referrers = append(parent.Referrers, &tree.Node{
			MediaType: r.MediaType, Digest: r.Digest, Size: r.Size, ArtifactType: r.ArtifactType, Referrers: []*tree.Node{},
		})
	}
	slices.SortFunc(parent.Referrers, func(a, b *tree.Node) int {
		return cmp.Or(cmp.Compare(a.ArtifactType, b.ArtifactType), cmp.Compare(a.Digest, b.Digest))
	})
	return nil
}
