package manifest

import (
	"regexp"

	"github.com/opencontainers/go-digest"
)

// referrersTag is the form of the tags of the referrers tag schema
// (distribution-spec v1.1, "Referrers Tag Schema").
var referrersTag = regexp.MustCompile(`^(sha256|sha384|sha512)-([0-9a-f]{64,128})$`)

// SubjectOfTag is the subject whose referrers are listed under a tag of the referrers
// tag schema; empty if the tag has only the beginning of its digest. It reports whether
// the tag is one.
func SubjectOfTag(tag string) (subject digest.Digest, ok bool) {
	parts := referrersTag.FindStringSubmatch(tag)
	if parts == nil {
		return "", false
	}
	subject = digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
	if subject.Validate() != nil {
		return "", true
	}
	return subject, true
}
