package browse

import "fmt"

// What the graph measures, in pixels.
const (
	boxWidth  = 230
	boxHeight = 44
	gapWidth  = 44
	gapHeight = 14
	margin    = 4
	maxBoxes  = 40
	boxText   = 27 // characters that fit into a box
)

// graph is a drawing of an image and what hangs on it: boxes from left to right, with a
// line from each to what it belongs to.
type graph struct {
	Width, Height int
	Boxes         []box
	Lines         []string // the data of paths
	Description   string
	More          int // boxes that are not drawn
}

type box struct {
	X, Y, TextX, FirstY, SecondY int
	Kind, First, Second          string
	Link                         *node // what it stands for
}

// draw draws what is attached to the manifest of a page; nil if there is nothing.
func draw(shown *imagePage) *graph {
	top := shown.Attached.Root
	if len(top.Children) == 0 {
		return nil
	}
	g := new(graph)
	columns, rows := 0, 0
	var place func(n *node, depth int) (middle int)
	place = func(n *node, depth int) int {
		columns = max(columns, depth+1)
		at := len(g.Boxes)
		g.Boxes = append(g.Boxes, g.box(n, depth))
		first, last := -1, 0
		for _, child := range n.Children {
			if len(g.Boxes) == maxBoxes {
				g.More += weigh(child)
				continue
			}
			if last = place(child, depth+1); first < 0 {
				first = last
			}
		}
		middle := (first + last) / 2
		if first < 0 {
			middle = margin + rows*(boxHeight+gapHeight) + boxHeight/2
			rows++
		}
		g.Boxes[at].move(middle)
		g.More += n.More
		return middle
	}
	place(top, 0)
	g.Boxes[0].First = shown.Class.Name
	if shown.Tag != "" {
		g.Boxes[0].Second = fit(shown.Tag)
	}
	g.connect(top)
	g.Width = 2*margin + columns*(boxWidth+gapWidth) - gapWidth
	g.Height = 2*margin + rows*(boxHeight+gapHeight) - gapHeight
	g.Description = fmt.Sprintf("%s with %s", shown.Class.Name, counted(len(g.Boxes)-1, "manifest", "manifests"))
	return g
}

// weigh is how many nodes there are from n on.
func weigh(n *node) int {
	sum := 1 + n.More
	for _, child := range n.Children {
		sum += weigh(child)
	}
	return sum
}

func (g *graph) box(n *node, depth int) box {
	second := short(n.Digest)
	if n.Platform != "" {
		second = n.Platform
	}
	x := margin + depth*(boxWidth+gapWidth)
	return box{X: x, TextX: x + 14, Kind: n.Class.Kind, First: fit(n.Class.Name), Second: fit(second), Link: n}
}

func (b *box) move(middle int) {
	b.Y = middle - boxHeight/2
	b.FirstY, b.SecondY = middle-3, middle+14
}

// connect draws the lines, once all boxes have their places.
func (g *graph) connect(top *node) {
	boxes := map[*node]box{}
	for _, b := range g.Boxes {
		boxes[b.Link] = b
	}
	g.Lines = g.Lines[:0]
	var below func(n *node)
	below = func(n *node) {
		from := boxes[n]
		for _, child := range n.Children {
			to, drawn := boxes[child]
			if !drawn {
				continue
			}
			x, y := from.X+boxWidth, from.Y+boxHeight/2
			half := x + gapWidth/2
			g.Lines = append(g.Lines, fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x, y, half, y, half, to.Y+boxHeight/2, to.X, to.Y+boxHeight/2))
			below(child)
		}
	}
	below(top)
}

// fit is the beginning of a text that fits into a box.
func fit(text string) string {
	runes := []rune(text)
	if len(runes) <= boxText {
		return text
	}
	return string(runes[:boxText-1]) + "…"
}
