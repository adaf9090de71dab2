package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"
)

// Reached is one thing that a manifest needs.
type Reached struct {
	Digest digest.Digest
	// Size is what the manifest says, in bytes; 0 if it does not say.
	Size int64
}

// Reach reads what a collector must know of a stored manifest of any type: all
// that any reader of the bytes could take for one of its references, and its
// subject, empty if it has none. Where Parse reads a document one way, this
// reads it in every way that is in use: the members of all types of manifests,
// names that differ in case (Go's encoding/json takes them for equal), each of
// several members of one name. A digest that is not valid cannot be in the
// storage, and is left out. The error says why the content is no manifest.
func (t *Types) Reach(content []byte) (references []Reached, subject digest.Digest, err error) {
	doc, _, err := t.recognize(content)
	if err != nil {
		return nil, "", err
	}
	forms := t.forms()
	for name, values := range doc.all() {
		form, known := forms[fold(name)]
		if !known {
			continue
		}
		for _, value := range values {
			found, err := form.reached(name, value)
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

// form is how the references in a member are written; one type may write them
// in one way and another type in the other.
type form struct{ list, single bool }

// forms is the form of each member of all types, by its name in lower case.
func (t *Types) forms() map[string]form {
	forms := map[string]form{}
	for _, known := range t.all() {
		for _, reference := range known.References {
			member, isList := strings.CutSuffix(fold(reference), "[]")
			f := forms[member]
			forms[member] = form{list: f.list || isList, single: f.single || !isList}
		}
	}
	return forms
}

// reached reads the references in one member.
func (f form) reached(name string, value json.RawMessage) ([]Reached, error) {
	list := make([]*Reached, 1)
	var err error
	if f.list && (!f.single || strings.HasPrefix(string(value), "[")) {
		err = json.Unmarshal(value, &list)
	} else {
		err = json.Unmarshal(value, &list[0])
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

// fold gives names one form that encoding/json takes for equal.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for { // to the smallest of those that differ in case only
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}
