package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// document is a JSON object with its members told apart exactly. encoding/json
// takes "Subject" for "subject" and the last of two equal names silently: two
// programs that read the same bytes would then see two manifests.
type document struct {
	members  map[string]json.RawMessage
	repeated map[string]bool
	earlier  map[string][]json.RawMessage // the values of repeated members but the last
}

var errNotObject = errors.New("not a JSON object")

func decode(content []byte) (*document, error) {
	if !json.Valid(content) {
		var syntax any
		return nil, fmt.Errorf("not JSON: %w", json.Unmarshal(content, &syntax))
	}
	content = bytes.TrimSpace(content)
	if content[0] != '{' {
		return nil, errNotObject
	}
	d := &document{members: map[string]json.RawMessage{}, repeated: map[string]bool{}}
	rest := content[1:]
	for {
		var name, value []byte
		if name, rest = cut(rest, ':'); len(name) == 0 {
			return d, nil // only in an empty object
		}
		value, rest = cut(rest, ',')
		key, err := unquote(name)
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		d.add(key, value)
		if len(rest) == 0 {
			return d, nil
		}
	}
}

// unquote is the text of a JSON string, nearly always what stands in the quotes.
func unquote(quoted []byte) (text string, err error) {
	if bytes.IndexByte(quoted, '\\') < 0 && utf8.Valid(quoted) {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	err = json.Unmarshal(quoted, &text)
	return text, err
}

func (d *document) add(key string, value json.RawMessage) {
	if before, twice := d.members[key]; twice {
		d.repeated[key] = true
		if d.earlier == nil {
			d.earlier = map[string][]json.RawMessage{}
		}
		d.earlier[key] = append(d.earlier[key], before)
	}
	d.members[key] = value
}

// cut returns the value that valid JSON begins with and what follows behind the
// delimiter; nothing, if the object that it is in ends with the value.
func cut(text []byte, delimiter byte) (value, rest []byte) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			depth--
		case depth == 0 && (c == delimiter || c == '}'):
			if c == delimiter {
				rest = text[i+1:]
			}
			return bytes.TrimSpace(text[:i]), rest
		}
	}
	return nil, nil // which valid JSON has not
}

// all is every value of every member.
func (d *document) all() iter.Seq2[string, []json.RawMessage] {
	return func(yield func(string, []json.RawMessage) bool) {
		for _, name := range slices.Sorted(maps.Keys(d.members)) { // the same order each time
			if !yield(name, append(d.earlier[name], d.members[name])) {
				return
			}
		}
	}
}

// has reports whether a member is there and is not null.
func (d *document) has(name string) bool {
	value, ok := d.members[name]
	return ok && !bytes.Equal(value, []byte("null"))
}

func (d *document) text(name string, problems *Problems) (text string) {
	if d.has(name) && json.Unmarshal(d.members[name], &text) != nil {
		problems.Add(name, "must be a string")
	}
	return text
}

func (d *document) texts(name string, problems *Problems) (texts map[string]string) {
	if !d.has(name) {
		return nil
	}
	object, err := decode(d.members[name])
	if err != nil {
		problems.Add(name, "must be an object of strings")
		return nil
	}
	texts = make(map[string]string, len(object.members))
	for key := range object.members {
		var text *string
		switch err := json.Unmarshal(object.members[key], &text); {
		case err != nil || text == nil:
			problems.Add(fmt.Sprintf("%s[%q]", name, key), "must be a string")
		case object.repeated[key]:
			problems.Add(fmt.Sprintf("%s[%q]", name, key), "stands more than once")
		default:
			texts[key] = *text
		}
	}
	return texts
}

func (d *document) descriptor(name string, problems *Problems) *v1.Descriptor {
	if !d.has(name) {
		return nil
	}
	return parseDescriptor(name, d.members[name], problems)
}

// descriptors reads a list of descriptors, and where in the list each stands:
// those that cannot be read are left out.
func (d *document) descriptors(name string, problems *Problems) (list []v1.Descriptor, positions []int) {
	if !d.has(name) {
		return nil, nil
	}
	var items []json.RawMessage
	if json.Unmarshal(d.members[name], &items) != nil {
		problems.Add(name, "must be a list of descriptors")
		return nil, nil
	}
	list = make([]v1.Descriptor, 0, len(items))
	for i, item := range items {
		if desc := parseDescriptor(fmt.Sprintf("%s[%d]", name, i), item, problems); desc != nil {
			list, positions = append(list, *desc), append(positions, i)
		}
	}
	return list, positions
}

// parseDescriptor reads a descriptor (image-spec v1.1, descriptor.md). One whose
// digest can be read is returned even if the rest of it is wrong.
func parseDescriptor(field string, raw json.RawMessage, problems *Problems) *v1.Descriptor {
	d, err := decode(raw)
	if err != nil {
		problems.Add(field, "must be a descriptor: %v", err)
		return nil
	}
	for name := range d.repeated {
		problems.Add(field+"."+name, "stands more than once")
	}
	var inner Problems
	desc := &v1.Descriptor{
		MediaType:    d.text("mediaType", &inner),
		Digest:       digest.Digest(d.text("digest", &inner)),
		ArtifactType: d.text("artifactType", &inner),
	}
	if desc.MediaType == "" && len(inner) == 0 {
		inner.Add("mediaType", "must be given")
	}
	digestErr := desc.Digest.Validate()
	if digestErr != nil {
		inner.Add("digest", "%q is not a valid digest: %v", string(desc.Digest), digestErr)
	}
	switch {
	case !d.has("size"):
		inner.Add("size", "must be given")
	case json.Unmarshal(d.members["size"], &desc.Size) != nil || desc.Size < 0:
		inner.Add("size", "must be a whole number of bytes")
	}
	for _, problem := range inner {
		problems.Add(field+"."+problem.Field, "%s", problem.Reason)
	}
	if digestErr != nil {
		return nil
	}
	return desc
}
