// Package index tests the index of referrers on storage drivers of every kind, through
// its exported methods.
package index
