package layout

import (
	"crypto/sha256"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A path that is taken for a link's is the one that is made of what was read from
// it, and nothing else is.
func FuzzLinks(f *testing.F) {
	const name = "team/app"
	a, b := digest.FromString("a"), digest.SHA512.FromString("b")
	f.Add(ReferrerLink(name, b, a))
	f.Add(RevisionLink(name, a))
	f.Add(Revision(name, a) + "/ref/sha256/" + b.Encoded() + "/link")
	f.Add(Subjects(name) + "/sha256/../sha256/" + digest.Digest("sha256:00").Encoded() + "/link")
	f.Fuzz(func(t *testing.T, file string) {
		if subject, referrer, ok := ParseReferrer(name, file); ok && ReferrerLink(name, subject, referrer) != file {
			t.Errorf("%q is taken for the link from %s to %s", file, referrer, subject)
		}
		if d, ok := ParseRevision(name, file); ok && RevisionLink(name, d) != file {
			t.Errorf("%q is taken for the link of %s", file, d)
		}
		sum := sha256.Sum256([]byte(file))
		d := digest.NewDigestFromBytes(digest.SHA256, sum[:])
		if subject, referrer, ok := ParseReferrer(name, ReferrerLink(name, d, a)); !ok || subject != d || referrer != a {
			t.Errorf("the link of %s is not taken for one", d)
		}
	})
}
