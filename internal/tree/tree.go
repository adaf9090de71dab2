// Package tree draws what is attached to what.
package tree

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
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
	// Repeated says that the referrers are shown where the manifest stands first.
	Repeated  bool    `json:"repeated,omitempty"`
	Referrers []*Node `json:"referrers"`
}

// JSON writes the trees as a list of nodes.
func JSON(w io.Writer, roots []*Node) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(roots)
}

// Text draws the trees as `oras discover` does: by type, then by digest.
func Text(w io.Writer, roots []*Node) error {
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

func drawReferrers(out *strings.Builder, parent *Node, indent string) {
	groups := slices.Collect(func(yield func([]*Node) bool) {
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
		label := printable(group[0].ArtifactType)
		if label == "" {
			label = printable(group[0].MediaType)
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

// Mermaid draws a graph with an arrow from each referrer to its subject.
func Mermaid(w io.Writer, roots []*Node) error {
	var out strings.Builder
	out.WriteString("graph BT\n")
	seen := map[string]bool{}
	line := func(text string) {
		if !seen[text] {
			seen[text] = true
			out.WriteString("  " + text + "\n")
		}
	}
	var draw func(*Node)
	draw = func(n *Node) {
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
