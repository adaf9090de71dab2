package oci

import (
	"net/http"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions"
)

// Wrap implements extensions.Wrapper. It adds to distribution's own manifest
// routes what it lacks of distribution-spec v1.1: the OCI-Subject header of a push
// ("Pushing Manifests with Subject"), and an answer to a pull that states no
// media type, which distribution refuses for OCI manifests.
func (*Extension) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isManifest(r.URL.Path) {
			switch r.Method {
			case http.MethodPut:
				ctx, push := extensions.WithPush(r.Context())
				w, r = &subjectWriter{w, push}, r.WithContext(ctx)
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

// isManifest reports whether the last segment but one of a path is "manifests".
func isManifest(path string) bool {
	slash := strings.LastIndexByte(path, '/')
	return slash >= 0 && strings.HasSuffix(path[:slash], "/manifests")
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

// subjectWriter adds the header to the answer that says that a push succeeded.
type subjectWriter struct {
	http.ResponseWriter
	push *extensions.Push
}

func (w *subjectWriter) WriteHeader(status int) {
	if status == http.StatusCreated && w.push.Subject != "" {
		w.Header()["OCI-Subject"] = []string{w.push.Subject.String()}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *subjectWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
