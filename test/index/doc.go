// Package index tests the index of referrers over storage drivers of every kind,
// as its callers see it.
package index
