package conformance

import "maps"

// skipped are the cases of every version that the suite skips, because the registry does
// not offer what they test. A section of docs/conformance.md says why.
var skipped = map[string]Outcome{
	"sha256 blobs/mount anonymous/blob-mount-anonymous": {Skipped: 1},
	"sha512 blobs/mount anonymous/blob-mount-anonymous": {Skipped: 1},
}

// notReleased are cases that the suite runs for the version to come only, and skips for
// the released one.
var notReleased = map[string]Outcome{
	"sha256 blobs/post cancel/blob-post-cancel": {Skipped: 1},
	"sha512 blobs/post cancel/blob-post-cancel": {Skipped: 1},
}

// known are all cases of a version that do not pass. None fails.
func known(version Version) map[string]Outcome {
	all := maps.Clone(skipped)
	if version == Released {
		maps.Copy(all, notReleased)
	}
	return all
}
