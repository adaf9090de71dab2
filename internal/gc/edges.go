package gc

import (
	"cmp"
	"iter"
	"slices"
)

// edge leads from a manifest to what it references, or from a subject to its
// referrer.
type edge struct{ from, to id }

// edges is a compact list, with 8 bytes for each edge. It must be sorted before it is
// searched.
type edges []edge

func (e edges) sorted() edges {
	slices.SortFunc(e, compareEdges)
	return slices.Compact(e)
}

func compareEdges(a, b edge) int {
	return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
}

// from yields the targets of the edges from n.
func (e edges) from(n id) iter.Seq[id] {
	return func(yield func(id) bool) {
		i, _ := slices.BinarySearchFunc(e, n, func(a edge, n id) int { return cmp.Compare(a.from, n) })
		for ; i < len(e) && e[i].from == n; i++ {
			if !yield(e[i].to) {
				return
			}
		}
	}
}

// all yields both ends of every edge.
func (e edges) all() iter.Seq2[id, id] {
	return func(yield func(id, id) bool) {
		for _, edge := range e {
			if !yield(edge.from, edge.to) {
				return
			}
		}
	}
}

// has reports whether the list contains an edge.
func (e edges) has(one edge) bool {
	_, found := slices.BinarySearchFunc(e, one, compareEdges)
	return found
}

// ids is a sorted list of numbers.
type ids []id

func (l ids) sorted() ids {
	slices.Sort(l)
	return slices.Compact(l)
}

func (l ids) has(n id) bool {
	_, found := slices.BinarySearch(l, n)
	return found
}

// without returns the numbers that are not in the set.
func (l ids) without(set map[id]struct{}) ids {
	var rest ids
	for _, n := range l {
		if _, in := set[n]; !in {
			rest = append(rest, n)
		}
	}
	return rest
}
