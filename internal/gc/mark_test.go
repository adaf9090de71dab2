package gc

import (
	"iter"
	"slices"
	"strings"
	"testing"
)

// graph is a graph of letters: "ab" in it leads from a to b.
type graph []string

func (g graph) from(n byte) iter.Seq[byte] {
	return func(yield func(byte) bool) {
		for _, edge := range g {
			if edge[0] == n && !yield(edge[1]) {
				return
			}
		}
	}
}

func (g graph) all() iter.Seq2[byte, byte] {
	return func(yield func(byte, byte) bool) {
		for _, edge := range g {
			if !yield(edge[0], edge[1]) {
				return
			}
		}
	}
}

func letters(set map[byte]struct{}) string {
	var list []byte
	for n := range set {
		list = append(list, n)
	}
	slices.Sort(list)
	return string(list)
}

func TestMark(t *testing.T) {
	for name, test := range map[string]struct {
		roots, references, referrers, want string
	}{
		"nothing":                         {"", "ab", "ac", ""},
		"one":                             {"a", "", "", "a"},
		"references":                      {"a", "ab bc de", "", "abc"},
		"a shared reference":              {"ab", "ac bc", "", "abc"},
		"referrers":                       {"a", "", "as st", "ast"},
		"what a referrer references":      {"a", "sx", "as", "asx"},
		"referrer of a reference":         {"i", "ia ib", "as bt", "abist"},
		"a referrer reaches no subject":   {"s", "sx", "as", "sx"},
		"referrer of what is not reached": {"a", "", "bs", "a"},
		"loop of references":              {"a", "ab ba", "", "ab"},
		"loop of referrers":               {"a", "", "as sa", "as"},
		"loop through both":               {"a", "sb", "as bs", "abs"},
		"its own referrer":                {"a", "", "aa", "a"},
		"a root twice":                    {"aa", "ab", "", "ab"},
		"a diamond":                       {"a", "ab ac bd cd", "de", "abcde"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Mark(slices.Values([]byte(test.roots)),
				graph(strings.Fields(test.references)).from, graph(strings.Fields(test.referrers)).from)
			if letters(got) != test.want {
				t.Errorf("marked %q, want %q", letters(got), test.want)
			}
		})
	}
}

func TestMarkIsLinear(t *testing.T) {
	const depth = 100_000
	visits := 0
	next := func(n int) iter.Seq[int] {
		visits++
		return func(yield func(int) bool) {
			if n < depth {
				yield(n + 1)
			}
		}
	}
	none := func(int) iter.Seq[int] { return func(func(int) bool) {} }
	if marked := Mark(slices.Values([]int{0}), none, next); len(marked) != depth+1 || visits != depth+1 {
		t.Errorf("marked %d with %d visits, want %d with as many", len(marked), visits, depth+1)
	}
}

func TestDangling(t *testing.T) {
	for name, test := range map[string]struct {
		there, tagged, links, want string
	}{
		"no links":                      {"ab", "", "", ""},
		"a subject that is there":       {"as", "", "as", ""},
		"a subject that is not":         {"s", "", "as", "s"},
		"tagged":                        {"s", "s", "as", ""},
		"a chain":                       {"stu", "", "as st tu", "stu"},
		"a chain with a tag in between": {"stu", "t", "as st tu", "s"},
		"one of two subjects":           {"bs", "", "as bs", ""},
		"none of two subjects":          {"s", "", "as bs", "s"},
		"two paths":                     {"stuv", "", "as at su tu uv", "stuv"},
		"one path left":                 {"bstu", "", "as bt su tu", "s"},
		"a loop that nothing leads to":  {"st", "", "st ts", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := func(set string) func(byte) bool {
				return func(n byte) bool { return strings.IndexByte(set, n) >= 0 }
			}
			got := Dangling(graph(strings.Fields(test.links)).all(), in(test.there), in(test.tagged))
			if letters(got) != test.want {
				t.Errorf("dangling are %q, want %q", letters(got), test.want)
			}
		})
	}
}
