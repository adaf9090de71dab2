package router

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/distribution/reference"
)

// names is the repository names that were asked for last. Checking one costs a regular
// expression. It has as many places as it ever will, and a name is short.
type names struct {
	seed   maphash.Seed
	places [256]atomic.Pointer[named]
}

type named struct {
	text string
	reference.Named
}

// parse is parseName, for less.
func (n *names) parse(text string) (reference.Named, error) {
	place := &n.places[maphash.String(n.seed, text)%uint64(len(n.places))]
	if known := place.Load(); known != nil && known.text == text {
		return known.Named, nil
	}
	text = strings.Clone(text) // not the whole path
	name, err := parseName(text)
	if err == nil {
		place.Store(&named{text, name})
	}
	return name, err
}
