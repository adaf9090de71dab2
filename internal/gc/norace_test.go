//go:build !race

package gc

// sparse is of how many cases one is tried in the tests that try all.
const sparse = 1
