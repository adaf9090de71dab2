// Package architecture holds the tests of how the project's packages hang
// together.
package architecture
