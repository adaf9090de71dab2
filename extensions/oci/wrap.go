package oci

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions"
)

// Wrap implements extensions.Wrapper. It adds to distribution's own manifest
// routes what they lack of the distribution-spec: the OCI-Subject header of a push
// (v1.1, "Pushing Manifests with Subject"), the tags in the query of a push by digest and
// the OCI-Tag header that confirms them (1.2 to come, "Pushing Manifests"), and an
// answer to a pull that states no media type, which distribution refuses for OCI
// manifests.
func (*Extension) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isManifest(r.URL.Path) {
			switch r.Method {
			case http.MethodPut:
				ctx, push := extensions.WithPush(r.Context())
				if isDigest(r.URL.Path) {
					push.Tags = tagsOf(r.URL.RawQuery)
				}
				w, r = &pushWriter{w, push}, r.WithContext(ctx)
			case http.MethodGet, http.MethodHead:
				if acceptsAnything(r.Header) {
					r = r.Clone(r.Context())
					r.Header.Add("Accept", v1.MediaTypeImageManifest+", "+v1.MediaTypeImageIndex)
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// tagsOf is the tags that the query of a push names. A query that cannot be decoded
// stands for a tag that no push can set.
func tagsOf(query string) []string {
	values, err := url.ParseQuery(query)
	if err != nil && strings.Contains(query, "tag") {
		return append(values["tag"], query)
	}
	return values["tag"]
}

// isManifest reports whether the last segment but one of a path is "manifests".
func isManifest(path string) bool {
	slash := strings.LastIndexByte(path, '/')
	return slash >= 0 && strings.HasSuffix(path[:slash], "/manifests")
}

// isDigest reports whether the last segment of a path is a digest.
func isDigest(path string) bool {
	_, err := digest.Parse(path[strings.LastIndexByte(path, '/')+1:])
	return err == nil
}

// acceptsAnything reports whether a request says nothing about media types, or
// no more than that it takes any. It then also gets what distribution would hide
// from it; a Docker manifest list stays what distribution makes of it.
func acceptsAnything(header http.Header) bool {
	for _, value := range header.Values("Accept") {
		for _, item := range strings.Split(value, ",") {
			mediaType, _, _ := strings.Cut(item, ";")
			if mediaType = strings.TrimSpace(mediaType); mediaType != "*/*" && mediaType != "" {
				return false
			}
		}
	}
	return true
}

// pushWriter adds to the answer what the storing of a manifest has reported.
type pushWriter struct {
	http.ResponseWriter
	push *extensions.Push
}

// WriteHeader implements http.ResponseWriter.
func (w *pushWriter) WriteHeader(status int) {
	switch {
	case status == http.StatusCreated:
		header := w.Header()
		if w.push.Subject != "" {
			header["OCI-Subject"] = []string{w.push.Subject.String()}
		}
		if len(w.push.Tagged) > 0 {
			header["OCI-Tag"] = w.push.Tagged
		}
	case w.push.Status != 0:
		status = w.push.Status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *pushWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
