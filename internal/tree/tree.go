// Package tree draws what is attached to what.
package tree

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Node is a manifest and what is attached to it.
type Node struct {
	Reference    string        `json:"reference,omitempty"`
	MediaType    string        `json:"mediaType"`
	Digest       digest.Digest `json:"digest"`
	Size         int64         `json:"size"`
	ArtifactType string        `json:"artifactType,omitempty"`
	// Platform is what an index says its child is for: linux/amd64.
	Platform string `json:"platform,omitempty"`
	// Missing says that the child of an index is not in the repository.
	Missing bool `json:"missing,omitempty"`
	// Repeated says that the rest is shown where the manifest stands first.
	Repeated bool `json:"repeated,omitempty"`
	// Manifests are the children of an index.
	Manifests []*Node `json:"manifests,omitempty"`
	Referrers []*Node `json:"referrers"`
}

// kind says what a manifest is: as exactly as it says itself, and in one line.
func (n *Node) kind() string {
	return printable(cmp.Or(n.ArtifactType, n.MediaType, v1.MediaTypeImageManifest))
}

// JSON writes the trees as a list of nodes.
func JSON(w io.Writer, roots []*Node) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(roots)
}

// Text draws the trees as `oras discover` does: by type, then by digest. The children of
// an index stand before its referrers, by platform.
func Text(w io.Writer, roots []*Node) error {
	var out strings.Builder
	for _, root := range roots {
		fmt.Fprintf(&out, "%s", root.Reference)
		if !strings.Contains(root.Reference, "@") {
			fmt.Fprintf(&out, " (%s)", root.Digest)
		}
		out.WriteString("\n")
		drawBelow(&out, root, "")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// group is what is drawn below one label.
type group struct {
	label string
	nodes []*Node
}

// groups are the children of a node, and then its referrers.
func groups(parent *Node) (all []group) {
	add := func(label string, n *Node) {
		if last := len(all) - 1; last >= 0 && all[last].label == label {
			all[last].nodes = append(all[last].nodes, n)
		} else {
			all = append(all, group{label, []*Node{n}})
		}
	}
	for _, n := range parent.Manifests {
		add(strings.TrimSpace("manifest "+printable(n.Platform)), n)
	}
	for _, n := range parent.Referrers {
		add(n.kind(), n)
	}
	return all
}

func drawBelow(out *strings.Builder, parent *Node, indent string) {
	all := groups(parent)
	for i, group := range all {
		mark, below := branch(i == len(all)-1)
		fmt.Fprintf(out, "%s%s%s\n", indent, mark, group.label)
		for j, child := range group.nodes {
			childMark, childBelow := branch(j == len(group.nodes)-1)
			note := ""
			switch {
			case child.Repeated:
				note = " (as above)"
			case child.Missing:
				note = " (not in the repository)"
			}
			fmt.Fprintf(out, "%s%s%s%s%s\n", indent, below, childMark, child.Digest, note)
			drawBelow(out, child, indent+below+childBelow)
		}
	}
}

// printable is a text without what would move the cursor of a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func branch(last bool) (mark, below string) {
	if last {
		return "└── ", "    "
	}
	return "├── ", "│   "
}

// Mermaid draws a graph with an arrow from each referrer to its subject, and a dotted one
// from each index to its children.
func Mermaid(w io.Writer, roots []*Node) error {
	var out strings.Builder
	out.WriteString("graph BT\n")
	seen, declared := map[string]bool{}, map[digest.Digest]bool{}
	line := func(text string) {
		if !seen[text] {
			seen[text] = true
			out.WriteString("  " + text + "\n")
		}
	}
	var draw func(*Node)
	draw = func(n *Node) {
		if label := cmp.Or(n.Reference, n.ArtifactType, n.Platform, n.kind()); n.Reference != "" || !declared[n.Digest] {
			line(fmt.Sprintf("%s[\"%s<br>%s\"]", mermaidID(n.Digest), mermaidText(label), n.Digest.Encoded()[:12]))
		}
		declared[n.Digest] = true
		for _, child := range n.Manifests {
			draw(child)
			line(mermaidID(n.Digest) + " -.-> " + mermaidID(child.Digest))
		}
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
