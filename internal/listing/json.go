package listing

import (
	"encoding/json"
	"strconv"

	"github.com/oras-distribution/registry/internal/referrers"
)

const annotationsMember = `,"annotations":`

// appendDescriptor appends a referrer as a descriptor (image-spec v1.1,
// descriptor.md): mediaType, digest, size and, where it has them, artifactType
// and annotations.
func appendDescriptor(b []byte, r *referrers.Referrer) []byte {
	b = append(b, `{"mediaType":`...)
	b = appendString(b, r.MediaType)
	b = append(b, `,"digest":`...)
	b = appendString(b, string(r.Digest))
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, r.Size, 10)
	if r.ArtifactType != "" {
		b = append(b, `,"artifactType":`...)
		b = appendString(b, r.ArtifactType)
	}
	if r.Annotations != nil {
		b = append(b, annotationsMember...)
		b = append(b, r.Annotations...)
	}
	return append(b, '}')
}

func appendString(b []byte, text string) []byte {
	if isPlain(text) {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil { // a string can always be marshalled
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

// isPlain reports whether a text stands in JSON as it is, as nearly all do.
func isPlain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
