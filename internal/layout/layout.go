// Package layout names the places in the storage tree that this project reads
// or writes beside distribution's own code, and reads manifests and links there.
//
// Below the root of a storage driver:
//
//	/docker/registry/v2
//	├── _gc                                                  ours: see Collection
//	│   └── records/<extension>/<key>/<time>-<random>         ours: what is recorded about all repositories
//	├── blobs/<alg>/<first two hex digits>/<hex>/data        distribution's: the bytes of blobs and manifests
//	└── repositories/<name>
//	    ├── _layers/<alg>/<hex>/link                         distribution's: the blob is in the repository
//	    ├── _manifests
//	    │   ├── revisions/<alg>/<hex>/link                   distribution's: the manifest is in the repository
//	    │   └── tags/<tag>
//	    │       ├── current/link                             distribution's: what the tag points to
//	    │       └── index/<alg>/<hex>/link                   distribution's: what it ever pointed to
//	    └── _refs
//	        ├── subjects/<alg>/<subject>/<alg>
//	        │   ├── <referrer>/link                              ours, the truth: the referrer refers to the subject
//	        │   ├── other-algorithms                             ours, below sha256 only: there are links of other algorithms
//	        │   └── restoring-<name>                             ours: a link may be there without its revision for a moment
//	        ├── records/<extension>/<key>/<time>-<random>        ours: what an extension has found out about the repository
//	        ├── released                                         ours, while retention removes manifests: which they are
//	        └── derived                                          ours, can be lost, old or wrong at any moment
//	            ├── subjects/<alg>/<subject>                     what is listed of a subject's referrers
//	            └── manifests                                    which manifests have been read, and their subjects
//
// Every manifest is stored by the digest that it was pushed by: the same bytes pushed
// by two digests are two blobs and two revisions. A blob is stored by its canonical
// digest alone, and a layer link of another algorithm is an alias: it contains the
// canonical digest.
//
// The index stands beside _manifests and never inside it, because distribution
// takes every file named link below _manifests/revisions for a manifest.
// Folders whose name begins with an underscore are invisible to a stock binary.
package layout

import (
	_ "crypto/sha256" // the digests that a path may hold
	_ "crypto/sha512"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Algorithms are the digest algorithms by which manifests are stored. The first is
// the canonical one.
func Algorithms() []digest.Algorithm { return []digest.Algorithm{digest.Canonical, digest.SHA512} }

// ManifestDigest is the digest that hex digits stand for in the name of a manifest's
// folder.
func ManifestDigest(hex string) (digest.Digest, bool) {
	for _, c := range []byte(hex) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	for _, algorithm := range Algorithms() {
		if len(hex) == 2*algorithm.Size() {
			return digest.NewDigestFromEncoded(algorithm, hex), true
		}
	}
	return "", false
}

// Root is distribution's root below that of the storage driver.
const Root = "/docker/registry/v2"

// Repositories is the folder of all repositories.
const Repositories = Root + "/repositories"

// Blobs is the folder of all blobs.
const Blobs = Root + "/blobs"

// LinkName is the name of the files whose content is the digest they stand for.
const LinkName = "link"

// BlobFolder is the folder of one blob, BlobData the file with its bytes.
func BlobFolder(d digest.Digest) string {
	hex := d.Encoded()
	return path.Join(Blobs, d.Algorithm().String(), hex[:2], hex)
}

// BlobData is the file with the bytes of a blob or manifest.
func BlobData(d digest.Digest) string { return BlobFolder(d) + "/data" }

// Repository is the folder of a repository.
func Repository(name string) string { return Repositories + "/" + name }

// Layers is the folder of a repository's blob links.
func Layers(name string) string { return Repository(name) + "/_layers" }

// Layer is the folder of a blob's link in a repository.
func Layer(name string, d digest.Digest) string { return under(Layers(name), d) }

// Upload is the folder of an upload that has not been committed.
func Upload(name, id string) string { return Repository(name) + "/_uploads/" + id }

// LayerLink is the file that puts a blob into a repository.
func LayerLink(name string, d digest.Digest) string { return Layer(name, d) + "/" + LinkName }

// Manifests is the folder of a repository's manifests and tags.
func Manifests(name string) string { return Repository(name) + "/_manifests" }

// Revisions is the folder of a repository's manifests.
func Revisions(name string) string { return Manifests(name) + "/revisions" }

// Revision is the folder of one manifest in a repository.
func Revision(name string, d digest.Digest) string { return under(Revisions(name), d) }

// RevisionLink is the file that puts a manifest into a repository.
func RevisionLink(name string, d digest.Digest) string { return Revision(name, d) + "/" + LinkName }

// Tags is the folder of a repository's tags.
func Tags(name string) string { return Manifests(name) + "/tags" }

// Tag is the folder of one tag.
func Tag(name, tag string) string { return Tags(name) + "/" + tag }

// TagCurrent is the file that says what a tag points to.
func TagCurrent(name, tag string) string { return Tag(name, tag) + "/current/" + LinkName }

// TagIndex is the folder of all that a tag ever pointed to.
func TagIndex(name, tag string) string { return Tag(name, tag) + "/index" }

// TagIndexEntry is the folder that records that a tag once pointed to d.
func TagIndexEntry(name, tag string, d digest.Digest) string {
	return under(TagIndex(name, tag), d)
}

// Refs is the folder of all that this project adds to a repository.
func Refs(name string) string { return Repository(name) + "/_refs" }

// Subjects is the folder of the index: one folder for each subject.
func Subjects(name string) string { return Refs(name) + "/subjects" }

// Subject is the folder of the links to one subject.
func Subject(name string, subject digest.Digest) string { return under(Subjects(name), subject) }

// Referrers is the folder of the links from referrers of one digest algorithm
// to one subject. Its entries are named by the referrers' hex digits.
func Referrers(name string, subject digest.Digest, alg digest.Algorithm) string {
	return Subject(name, subject) + "/" + alg.String()
}

// Referrer is the folder of one link of the index.
func Referrer(name string, subject, referrer digest.Digest) string {
	return under(Subject(name, subject), referrer)
}

// ReferrerLink is the file that says that referrer refers to subject.
func ReferrerLink(name string, subject, referrer digest.Digest) string {
	return Referrer(name, subject, referrer) + "/" + LinkName
}

// OtherAlgorithms is the name of OtherReferrers.
const OtherAlgorithms = "other-algorithms"

// IsOtherAlgorithms reports whether a name is OtherAlgorithms, or that of a file that the
// filesystem driver was going to give this name when it was interrupted.
func IsOtherAlgorithms(name string) bool { return strings.HasPrefix(name, OtherAlgorithms) }

// OtherReferrers is a file that stands among the links of the canonical algorithm, so
// that those of other algorithms are found without listing more than one folder for
// every subject that has none. It is written before the first of them.
func OtherReferrers(name string, subject digest.Digest) string {
	return Referrers(name, subject, digest.Canonical) + "/" + OtherAlgorithms
}

// RestoringPrefix is the prefix of the names of Restoring.
const RestoringPrefix = "restoring-"

// Restoring is a file that stands among the links to a subject while links are
// restored: see referrers.Index. It sorts behind all of them.
func Restoring(name string, subject digest.Digest, by string) string {
	return Referrers(name, subject, digest.Canonical) + "/" + RestoringPrefix + by
}

// Released is the file with the digests, one in a line, of the manifests that retention
// is removing. If that is interrupted, the next run cannot tell them from manifests that
// never had a tag.
func Released(name string) string { return Refs(name) + "/released" }

// Records is the folder of what an extension has found out about the repository, or about
// all of them if the name is empty.
func Records(name, extension string) string {
	if name == "" {
		return Collection + "/records/" + extension
	}
	return Refs(name) + "/records/" + extension
}

// Derived is the folder of all that can be made again from the rest.
func Derived(name string) string { return Refs(name) + "/derived" }

// DerivedSubjects is the folder of the files that describe referrers.
func DerivedSubjects(name string) string { return Derived(name) + "/subjects" }

// DerivedSubject is the file that describes a subject's referrers.
func DerivedSubject(name string, subject digest.Digest) string {
	return under(DerivedSubjects(name), subject)
}

// DerivedManifests is the file that says which manifests have been read, and
// which subject each of them names.
func DerivedManifests(name string) string { return Derived(name) + "/manifests" }

func under(folder string, d digest.Digest) string {
	return folder + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

// ParseReferrer reads subject and referrer back from the path of a link below
// Subjects(name). It reports whether the path belongs to a well-formed link.
func ParseReferrer(name, file string) (subject, referrer digest.Digest, ok bool) {
	rest, found := strings.CutPrefix(file, Subjects(name)+"/")
	parts := strings.Split(rest, "/")
	if !found || len(parts) != 5 || parts[4] != LinkName {
		return "", "", false
	}
	subject = digest.NewDigestFromEncoded(digest.Algorithm(parts[0]), parts[1])
	referrer = digest.NewDigestFromEncoded(digest.Algorithm(parts[2]), parts[3])
	return subject, referrer, subject.Validate() == nil && referrer.Validate() == nil
}

// ParseRevision reads the digest back from the path of a revision's link below
// Revisions(name). Links deeper in the tree, which one earlier implementation
// wrote, are not revisions.
func ParseRevision(name, file string) (digest.Digest, bool) {
	rest, found := strings.CutPrefix(file, Revisions(name)+"/")
	parts := strings.Split(rest, "/")
	if !found || len(parts) != 3 || parts[2] != LinkName {
		return "", false
	}
	d := digest.NewDigestFromEncoded(digest.Algorithm(parts[0]), parts[1])
	return d, d.Validate() == nil
}
