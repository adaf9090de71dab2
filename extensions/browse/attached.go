package browse

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
)

// What is shown of what is attached to a manifest at most.
const (
	maxDepth    = 4   // attached to what is attached to …
	maxAttached = 25  // to one manifest
	maxNodes    = 100 // all told
	maxAsked    = 20  // for how many manifests it is asked what is attached to them
)

// costOfListing is about what a listing takes, in storage operations, and what it takes for
// each referrer if nothing is known of it yet.
const (
	costOfListing  = 2
	costOfReferrer = 2
)

// attachedPart is what is attached to an image.
type attachedPart struct {
	Root    *node
	Kinds   []kindCount // of what is attached to the image itself
	Shown   int
	Problem string // why it is not known
	Retry   int    // in how many seconds it may be; 0: not said
	Short   bool   // not all is shown
}

type kindCount struct{ Kind, Text string }

// node is a manifest in the tree of what is attached.
type node struct {
	Name        string // of the repository
	Class       class
	Type        string // its artifactType
	Platform    string
	Digest      digest.Digest
	Size        int64
	Time        time.Time
	IsPushed    bool // the time is when it was pushed: it does not say when it was created
	Annotations []pair
	Note        string
	Repeated    bool // it is shown above with what is attached to it
	Children    []*node
	More        int // children that are not shown

	depth int
	known []*extensions.Referrer // to the manifest, once it was asked
}

// attached reads what is attached to the manifest of a page, level by level.
func (v *view) attached(shown *imagePage) *attachedPart {
	part := &attachedPart{Root: &node{Name: v.name(), Class: shown.Class, Digest: shown.Digest, Size: shown.Manifest.Size}}
	seen := map[digest.Digest]bool{shown.Digest: true}
	queue := []*node{part.Root}
	if shown.IsIndex {
		queue = append(queue, part.Root.platforms(shown.Platforms, seen)...)
	}
	for asked := 0; len(queue) > 0; asked++ {
		n := queue[0]
		queue = queue[1:]
		if n.depth == maxDepth || part.Shown >= maxNodes || asked == maxAsked || v.ctx.Err() != nil || !v.take(costOfListing) {
			n.Note, part.Short = "what is attached to it was not asked for; open it to see", true
			continue
		}
		set, err := v.Referrers.Referrers(v.ctx, v.name(), n.Digest)
		if err != nil {
			part.fail(v, n, err)
			continue
		}
		v.take(min(costOfReferrer*len(set.Referrers), max(0, v.operations)))
		queue = append(queue, v.attach(part, n, set.Referrers, seen)...)
	}
	part.count()
	return part
}

// fail says why it is not known what is attached to a manifest.
func (part *attachedPart) fail(v *view, n *node, err error) {
	part.Short = true
	if n != part.Root {
		n.Note = "what is attached to it is not known: " + v.plain(err)
		return
	}
	part.Problem = v.plain(err)
	var later notReady
	if errors.As(err, &later) {
		part.Retry = int(max(later.Retry().Seconds(), 1))
	}
}

// platforms adds the images that an index lists, and returns those that there is something
// to ask for.
func (n *node) platforms(rows []*platformRow, seen map[digest.Digest]bool) (added []*node) {
	for _, row := range rows[:min(len(rows), maxAttached)] {
		if !row.Valid || seen[row.Digest] || row.Platform == "" {
			continue
		}
		seen[row.Digest] = true
		child := &node{Name: n.Name, Class: class{"Image", "image"}, Platform: row.Platform, Digest: row.Digest, Size: row.Size, Note: row.Error, depth: 1}
		n.Children = append(n.Children, child)
		if row.Error == "" {
			added = append(added, child)
		}
	}
	return added
}

// attach adds what is attached to a manifest, the newest first.
func (v *view) attach(part *attachedPart, n *node, list []*extensions.Referrer, seen map[digest.Digest]bool) (added []*node) {
	n.known = slices.Clone(list)
	slices.SortFunc(n.known, func(a, b *extensions.Referrer) int {
		return cmp.Or(timeOf(b).Compare(timeOf(a)), cmp.Compare(a.Digest, b.Digest))
	})
	for i, r := range n.known {
		if i == maxAttached || part.Shown == maxNodes {
			n.More, part.Short = len(n.known)-i, true
			break
		}
		part.Shown++
		child := v.node(r)
		child.depth, child.Repeated = n.depth+1, seen[r.Digest]
		n.Children = append(n.Children, child)
		if !child.Repeated {
			seen[r.Digest] = true
			added = append(added, child)
		}
	}
	return added
}

// timeOf is when something was created, or pushed if it does not say.
func timeOf(r *extensions.Referrer) time.Time {
	for _, t := range []time.Time{r.OCICreated, r.TypeCreated} {
		if !t.IsZero() {
			return t
		}
	}
	return r.Pushed
}

// node is what the tree says of a referrer.
func (v *view) node(r *extensions.Referrer) *node {
	n := &node{
		Name: v.name(), Type: clip(cmp.Or(r.ArtifactType, r.MediaType), maxName), Digest: r.Digest, Size: r.Size, Time: timeOf(r),
		IsPushed: r.OCICreated.IsZero() && r.TypeCreated.IsZero(),
	}
	annotations := map[string]string{}
	if r.Abridged() {
		n.Note = fmt.Sprintf("its annotations, %s, are not shown here; open it to see them", formatSize(int64(r.AnnotationsSize)))
	} else if len(r.Annotations) > 0 {
		_ = json.Unmarshal(r.Annotations, &annotations)
	}
	n.Class = classify(cmp.Or(r.ArtifactType, r.MediaType), annotations)
	n.Annotations = v.pairs(annotations)
	return n
}

// count counts what is attached to the image itself.
func (part *attachedPart) count() {
	counts := map[string]int{}
	for _, r := range part.Root.known {
		counts[kindOf(r)]++
	}
	for _, k := range kinds {
		switch n := counts[k.kind]; n {
		case 0:
		case 1:
			text := k.one
			part.Kinds = append(part.Kinds, kindCount{k.kind, "1 " + text})
		default:
			part.Kinds = append(part.Kinds, kindCount{k.kind, formatCount(n) + " " + k.many})
		}
	}
}

// kindOf is the kind of a referrer. Only the types of bundles leave it open.
func kindOf(r *extensions.Referrer) string {
	annotations := map[string]string{}
	if strings.HasPrefix(r.ArtifactType, bundlePrefix) {
		_ = json.Unmarshal(r.Annotations, &annotations)
	}
	if kind := classify(r.ArtifactType, annotations).Kind; kind != "image" {
		return kind
	}
	return "other"
}
