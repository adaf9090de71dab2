package router

import (
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/push"
)

// Monolithic adds what distribution lacks: an upload in a single POST, with the digest
// in the query and the blob as the body. It is served as the two requests that it saves the
// client, which each are authorized, counted and logged as if the client had sent them.
func Monolithic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isMonolithic(r) {
			next.ServeHTTP(w, r)
			return
		}
		query := r.URL.Query()
		d := query.Get("digest")
		query.Del("digest")
		open := rerouted(r, http.MethodPost, r.URL.Path, query)
		open.Body, open.ContentLength, open.TransferEncoding = http.NoBody, 0, nil
		opened := &opening{ResponseWriter: w, header: http.Header{}}
		next.ServeHTTP(opened, open)
		upload, err := url.Parse(opened.header.Get("Location"))
		if !opened.ok || err != nil {
			return
		}
		query = upload.Query()
		query.Set("digest", d)
		path := strings.TrimSuffix(r.URL.Path, "/") + "/" + opened.header.Get("Docker-Upload-UUID")
		put := rerouted(r, http.MethodPut, path, query)
		put.Header.Del("Content-Range") // the body is the whole blob
		next.ServeHTTP(w, put.WithContext(push.Whole(put.Context())))
	})
}

// isMonolithic reports whether a request is such an upload. One that has no body though
// its digest is not that of an empty blob only opens an upload, as in distribution.
func isMonolithic(r *http.Request) bool {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/blobs/uploads/") {
		return false
	}
	query := r.URL.Query()
	d, err := digest.Parse(query.Get("digest"))
	return err == nil && !query.Has("mount") && (r.ContentLength != 0 || d == d.Algorithm().FromBytes(nil))
}

// rerouted is a request to another place.
func rerouted(r *http.Request, method, path string, query url.Values) *http.Request {
	r = r.Clone(r.Context())
	r.Method, r.Form = method, nil
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = path, "", query.Encode()
	r.RequestURI = r.URL.RequestURI()
	return r
}

// opening swallows the answer that an upload is open, and passes on any other.
type opening struct {
	http.ResponseWriter
	header http.Header
	ok     bool
	passed bool
}

// Header implements http.ResponseWriter.
func (o *opening) Header() http.Header { return o.header }

// WriteHeader implements http.ResponseWriter.
func (o *opening) WriteHeader(status int) {
	if o.ok = status == http.StatusAccepted; o.ok {
		return
	}
	maps.Copy(o.ResponseWriter.Header(), o.header)
	o.ResponseWriter.WriteHeader(status)
	o.passed = true
}

// Write implements http.ResponseWriter.
func (o *opening) Write(content []byte) (int, error) {
	if !o.ok && !o.passed {
		o.WriteHeader(http.StatusOK)
	}
	if o.ok {
		return len(content), nil
	}
	return o.ResponseWriter.Write(content)
}
