package config

import (
	"fmt"
	"slices"
	"strings"
)

// nearest is the name that a misspelt one most likely stands for, empty if there is none.
func nearest(name string, known []string) (best string) {
	least := max(2, len(name)/3) + 1
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		edits := distance(name, candidate)
		if len(name) > 2 && strings.HasPrefix(candidate, name) {
			edits = min(edits, 1)
		}
		if edits < least && edits < len(candidate) {
			best, least = candidate, edits
		}
	}
	return best
}

// hint is the end of a message about a misspelt name.
func hint(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}

// distance is how many bytes must be changed, added or removed to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			edits := diagonal
			if a[i] != b[j] {
				edits++
			}
			diagonal = row[j+1]
			row[j+1] = min(edits, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
