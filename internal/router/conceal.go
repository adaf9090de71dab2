package router

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/oras-distribution/registry/internal/push"
)

// Concealing takes from distribution's answers what its storage drivers say about a
// failure: paths and addresses of the storage, which are in the log. To distribution, a
// blob that is not sent as HTTP wants it is such a failure, too; it is the client's. So is
// a refusal for which a handler of distribution has no answer.
func Concealing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received := &body{ReadCloser: r.Body}
		refusal := new(push.Refusal)
		if r.Method == http.MethodPut || r.Method == http.MethodDelete {
			r = r.WithContext(push.Refusable(r.Context(), refusal))
		}
		r.Body = received
		next.ServeHTTP(&concealingWriter{ResponseWriter: w, request: r, received: received, refusal: refusal}, r)
	})
}

// body remembers why the body of a request could not be read.
type body struct {
	io.ReadCloser
	err error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

type concealingWriter struct {
	http.ResponseWriter
	request   *http.Request
	received  *body
	refusal   *push.Refusal
	concealed bool
}

// WriteHeader implements http.ResponseWriter.
func (w *concealingWriter) WriteHeader(status int) {
	isError := strings.HasPrefix(w.Header().Get("Content-Type"), "application/json")
	if status != http.StatusInternalServerError || !isError || w.concealed {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.concealed = true
	w.Header().Del("Content-Length")
	if err := w.refusal.Err(); err != nil {
		serveError(w.ResponseWriter, w.request, err, 0)
		return
	}
	if err := w.received.err; err != nil {
		serveError(w.ResponseWriter, w.request, errcode.ErrorCodeBlobUploadInvalid.WithDetail(err.Error()), http.StatusBadRequest)
		return
	}
	serveError(w.ResponseWriter, w.request, unknownError(w.request), 0)
}

// Write implements http.ResponseWriter.
func (w *concealingWriter) Write(p []byte) (int, error) {
	if w.concealed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *concealingWriter) Flush() {
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (w *concealingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// unknownError is all that a client is told about a failure of the registry.
func unknownError(r *http.Request) error {
	return errcode.ErrorCodeUnknown.WithDetail(map[string]string{"path": r.URL.Path, "reason": "see the log of the registry"})
}
