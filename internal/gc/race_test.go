//go:build race

package gc

// sparse is of how many cases one is tried in the tests that try all: the race detector makes
// them slow.
const sparse = 10
