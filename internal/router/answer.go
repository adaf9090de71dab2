package router

import (
	"context"
	"net/http"
)

// Section is what a request relies on: see package collection.
type Section interface {
	// End is called before the answer. After an error the request has to be sent again.
	End() error
}

// Answering gives each request a section that ends before its answer begins. If it cannot
// be relied on by then, the client is told to send the request again.
func Answering(next http.Handler, begin func(*http.Request) (context.Context, Section)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, section := begin(r)
		answering := &answeringWriter{ResponseWriter: w, request: r, section: section}
		defer func() { _ = section.End() }()
		next.ServeHTTP(answering, r.WithContext(ctx))
	})
}

type answeringWriter struct {
	http.ResponseWriter
	request *http.Request
	section Section
	begun   bool
	refused bool
}

// WriteHeader implements http.ResponseWriter.
func (w *answeringWriter) WriteHeader(status int) {
	if status < http.StatusOK || w.begun {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.begun = true
	err := w.section.End()
	if err == nil {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	for _, name := range []string{
		"Content-Length", "Content-Type", "Location", "Docker-Content-Digest", "Docker-Upload-Uuid", "Etag", "Cache-Control", "Range", "Oci-Subject", "Oci-Tag",
	} {
		w.Header().Del(name)
	}
	writeError(w.ResponseWriter, w.request, err)
}

// Write implements http.ResponseWriter.
func (w *answeringWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *answeringWriter) Flush() {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok && !w.refused {
		flusher.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (w *answeringWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
