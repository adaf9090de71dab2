package manifest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Reached is one thing that a manifest needs.
type Reached struct {
	Digest digest.Digest
	// Size is what the manifest says, in bytes; 0 if it does not say.
	Size int64
}

// Reach reads what a collector must know of a stored manifest of any kind: all
// that any reader of the bytes could take for one of its references, and its
// subject, empty if it has none. Where Parse reads a document one way, this
// reads it in every way that is in use: the members of all kinds of manifests,
// names that differ in case (Go's encoding/json takes them for equal), each of
// several members of one name. A digest that is not valid cannot be in the
// storage, and is left out. The error says why the content is no manifest.
func Reach(content []byte) (references []Reached, subject digest.Digest, err error) {
	doc, err := decode(content)
	if err != nil {
		return nil, "", err
	}
	if doc.kind() == "" {
		return nil, "", ErrUnknown
	}
	for name, values := range doc.all() {
		for _, value := range values {
			found, err := reached(name, value)
			if err != nil {
				return nil, "", err
			}
			references = append(references, found...)
		}
	}
	var problems Problems
	if desc := doc.descriptor("subject", &problems); desc != nil {
		subject = desc.Digest
	}
	return references, subject, nil
}

// reached reads the references in one member.
func reached(name string, value json.RawMessage) ([]Reached, error) {
	var list []*Reached
	var err error
	switch strings.ToLower(name) {
	case "layers", "blobs", "manifests":
		err = json.Unmarshal(value, &list)
	case "config":
		list = make([]*Reached, 1)
		err = json.Unmarshal(value, &list[0])
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	found := make([]Reached, 0, len(list))
	for _, item := range list {
		if item != nil && item.Digest.Validate() == nil {
			found = append(found, *item)
		}
	}
	return found, nil
}
