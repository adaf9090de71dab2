package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

func newTreeCommand(list []extensions.Extension) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "tree CONFIG REPOSITORY[:TAG|@DIGEST]",
		Short: "Show what is attached to what",
		Long:  "Show what is attached to a manifest, and to that. Without tag and digest, to all that is tagged.",
		Args:  cobra.ExactArgs(2),
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
	cmd.Flags().StringVar(&format, "format", "tree", "tree, json or mermaid")
	return cmd
}

var treeFormats = map[string]func(io.Writer, []*node) error{
	"tree": writeTree, "json": writeTreeJSON, "mermaid": writeMermaid,
}

// node is a manifest and what is attached to it.
type node struct {
	Reference    string        `json:"reference,omitempty"`
	MediaType    string        `json:"mediaType"`
	Digest       digest.Digest `json:"digest"`
	Size         int64         `json:"size"`
	ArtifactType string        `json:"artifactType,omitempty"`
	// Repeated says that the referrers are shown where the manifest stands first.
	Repeated  bool    `json:"repeated,omitempty"`
	Referrers []*node `json:"referrers"`
}

// readTree reads the trees below the manifests that a reference names.
func readTree(ctx context.Context, path, ref string, list []extensions.Extension) ([]*node, error) {
	name, err := reference.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("%q is not REPOSITORY[:TAG|@DIGEST]: %w", ref, err)
	}
	named, ok := name.(reference.Named)
	if !ok {
		return nil, fmt.Errorf("%q names no repository", ref)
	}
	tree, err := openTree(ctx, path, list, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.index.Close(context.WithoutCancel(ctx)) }()
	repository, err := tree.namespace.Repository(ctx, reference.TrimNamed(named))
	if err != nil {
		return nil, err
	}
	roots, err := tree.roots(ctx, repository, named)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		// Referrers may refer to one another in circles.
		if err := tree.attach(ctx, repository.Named().Name(), root, map[digest.Digest]bool{root.Digest: true}); err != nil {
			return nil, err
		}
	}
	return roots, nil
}

func (t *storageTree) roots(ctx context.Context, repository distribution.Repository, named reference.Named) ([]*node, error) {
	name := repository.Named().Name()
	if digested, ok := named.(reference.Digested); ok {
		root, err := t.root(ctx, name, digested.Digest(), name+"@"+digested.Digest().String())
		return []*node{root}, err
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
	roots := make([]*node, 0, len(tags))
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

func (t *storageTree) root(ctx context.Context, repository string, d digest.Digest, ref string) (*node, error) {
	if _, err := t.driver.Stat(ctx, layout.RevisionLink(repository, d)); err != nil {
		return nil, fmt.Errorf("%s: manifest %s is not in the repository: %w", ref, d, err)
	}
	content, err := t.driver.GetContent(ctx, layout.BlobData(d))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	m, err := manifest.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return &node{
		Reference: ref, MediaType: m.MediaType, Digest: d, Size: int64(len(content)),
		ArtifactType: m.ArtifactType, Referrers: []*node{},
	}, nil
}

func (t *storageTree) attach(ctx context.Context, repository string, parent *node, seen map[digest.Digest]bool) error {
	set, err := t.index.Referrers(ctx, repository, parent.Digest)
	if err != nil {
		return err
	}
	for _, r := range set.Referrers {
		child := &node{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size, ArtifactType: r.ArtifactType, Referrers: []*node{}}
		parent.Referrers = append(parent.Referrers, child)
		if child.Repeated = seen[r.Digest]; child.Repeated {
			continue
		}
		seen[r.Digest] = true
		if err := t.attach(ctx, repository, child, seen); err != nil {
			return err
		}
	}
	slices.SortStableFunc(parent.Referrers, func(a, b *node) int { return strings.Compare(a.ArtifactType, b.ArtifactType) })
	return nil
}

func writeTreeJSON(w io.Writer, roots []*node) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(roots)
}

// writeTree draws the trees as `oras discover` does: by type, then by digest.
func writeTree(w io.Writer, roots []*node) error {
	var out strings.Builder
	for _, root := range roots {
		fmt.Fprintf(&out, "%s", root.Reference)
		if !strings.Contains(root.Reference, "@") {
			fmt.Fprintf(&out, " (%s)", root.Digest)
		}
		out.WriteString("\n")
		drawReferrers(&out, root, "")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func drawReferrers(out *strings.Builder, parent *node, indent string) {
	groups := slices.Collect(func(yield func([]*node) bool) {
		rest := parent.Referrers
		for len(rest) > 0 {
			end := 1
			for end < len(rest) && rest[end].ArtifactType == rest[0].ArtifactType {
				end++
			}
			if !yield(rest[:end]) {
				return
			}
			rest = rest[end:]
		}
	})
	for i, group := range groups {
		mark, below := branch(i == len(groups)-1)
		label := group[0].ArtifactType
		if label == "" {
			label = group[0].MediaType
			if label == "" {
				label = v1.MediaTypeImageManifest
			}
		}
		fmt.Fprintf(out, "%s%s%s\n", indent, mark, label)
		for j, child := range group {
			childMark, childBelow := branch(j == len(group)-1)
			note := ""
			if child.Repeated {
				note = " (as above)"
			}
			fmt.Fprintf(out, "%s%s%s%s%s\n", indent, below, childMark, child.Digest, note)
			drawReferrers(out, child, indent+below+childBelow)
		}
	}
}

func branch(last bool) (mark, below string) {
	if last {
		return "└── ", "    "
	}
	return "├── ", "│   "
}

// writeMermaid draws a graph with an arrow from each referrer to its subject.
func writeMermaid(w io.Writer, roots []*node) error {
	var out strings.Builder
	out.WriteString("graph BT\n")
	seen := map[string]bool{}
	line := func(text string) {
		if !seen[text] {
			seen[text] = true
			out.WriteString("  " + text + "\n")
		}
	}
	var draw func(*node)
	draw = func(n *node) {
		label := n.Reference
		if label == "" {
			label = n.ArtifactType
		}
		line(fmt.Sprintf("%s[\"%s<br>%s\"]", mermaidID(n.Digest), mermaidText(label), n.Digest.Encoded()[:12]))
		for _, child := range n.Referrers {
			draw(child)
			line(mermaidID(child.Digest) + " --> " + mermaidID(n.Digest))
		}
	}
	for _, root := range roots {
		draw(root)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func mermaidID(d digest.Digest) string { return "m" + d.Encoded()[:16] }

func mermaidText(text string) string {
	return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ").Replace(text)
}
