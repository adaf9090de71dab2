package router

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/manifest"
)

// ByDigest tells distribution by which digest a manifest is pushed: it would compare
// one of any algorithm with the canonical one. See manifest.PushedBy.
func ByDigest(next http.Handler, algorithms []digest.Algorithm) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slash := strings.LastIndexByte(r.URL.Path, '/')
		if r.Method == http.MethodPut && slash >= 0 && strings.HasSuffix(r.URL.Path[:slash], "/manifests") {
			r = r.Clone(r.Context())
			for _, algorithm := range algorithms {
				typeBy(r.Header, r.URL.Path[slash+1:], algorithm)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// typeBy changes the media type of a manifest that is pushed by an algorithm. Clients
// cannot use that media type themselves.
func typeBy(header http.Header, reference string, algorithm digest.Algorithm) {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return
	}
	if manifest.IsPushedBy(mediaType, algorithm) {
		header.Del("Content-Type")
		return
	}
	pushed := manifest.PushedBy(mediaType, algorithm)
	if strings.HasPrefix(reference, algorithm.String()+":") && slices.Contains(distribution.ManifestMediaTypes(), pushed) {
		header.Set("Content-Type", pushed)
	}
}
