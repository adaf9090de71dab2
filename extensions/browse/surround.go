package browse

import (
	"bytes"
	"net/http"
	"strings"
)

// surround is around every request, and does something only to those for the pages: it
// turns the cookie of the form into credentials, and the errors of the registry into pages.
func (s *site) surround(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		below, ours := strings.CutPrefix(r.URL.Path, s.Prefix)
		switch {
		case ours && below+"/" == root:
			http.Redirect(w, r, s.path(""), http.StatusMovedPermanently)
		case ours && strings.HasPrefix(below, root):
			a := &answer{ResponseWriter: w}
			r = s.withSession(r)
			next.ServeHTTP(a, r)
			if !a.begun {
				a.WriteHeader(http.StatusOK)
			}
			if a.refused != 0 {
				s.writeError(w, r, a)
			}
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// policy is what a page may load and do: only its own stylesheet and icon, and no script.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// answer is the answer to a request for a page. An error is kept back, for a page is
// written in its place.
type answer struct {
	http.ResponseWriter
	begun   bool
	refused int // the status of an error
	body    bytes.Buffer
}

// maxError is how much of an error is read.
const maxError = 16 << 10

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.begun || status < http.StatusOK {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.begun = true
	h := a.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if status >= http.StatusBadRequest && !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		a.refused = status
		h.Del("Content-Length")
		return
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	if a.refused == 0 {
		return a.ResponseWriter.Write(p)
	}
	a.body.Write(p[:min(len(p), maxError-a.body.Len())])
	return len(p), nil
}

// Flush implements http.Flusher.
func (a *answer) Flush() {
	if flusher, ok := a.ResponseWriter.(http.Flusher); ok && a.refused == 0 && a.begun {
		flusher.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
