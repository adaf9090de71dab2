package manifest

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

// PushedBy is the media type by which a manifest is handed to distribution that is
// pushed by a digest of another algorithm: by its media type, distribution finds the
// function that computes the digest. It is never stored or served.
func PushedBy(mediaType string, algorithm digest.Algorithm) string {
	return mediaType + "+" + algorithm.String()
}

// IsPushedBy reports whether PushedBy has made a media type.
func IsPushedBy(mediaType string, algorithm digest.Algorithm) bool {
	return strings.HasSuffix(mediaType, "+"+algorithm.String())
}
