package mirror

import (
	"context"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oras-distribution/registry/extensions"
)

// rewriter finds out which repository a request means, before anything else is asked: the
// local name is what is authorized, and what every handler sees.
type rewriter struct {
	*Extension
	next http.Handler
}

// named are the paths with the name of a repository, and what follows it.
var named = regexp.MustCompile(`^(/v2/|/oras/artifacts/v1/)(.+)(/(?:manifests|blobs|tags|referrers|_oras/artifacts|_oci)/.*)$`)

// ServeHTTP implements http.Handler.
func (rw *rewriter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	below, ok := strings.CutPrefix(r.URL.Path, rw.prefix)
	parts := named.FindStringSubmatch(below)
	if !ok || parts == nil {
		rw.next.ServeHTTP(w, r)
		return
	}
	if rw.whole != nil {
		rw.list(w, r, parts[3])
		return
	}
	ns := r.URL.Query().Get("ns")
	repository, ok := rw.names.of(parts[2], ns)
	if !ok { // otherwise it would mean the repository of this name here
		rw.next.ServeHTTP(w, r.WithContext(extensions.Refuse(r.Context(), unknownNS(ns))))
		return
	}
	if ns != "" {
		w.Header().Set("OCI-Namespace", ns)
	}
	first, _, _ := strings.Cut(repository, "/")
	upstream := rw.upstreams[first]
	if upstream == nil {
		rw.next.ServeHTTP(w, r)
		return
	}
	if repository != parts[2] {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = rw.prefix+parts[1]+repository+parts[3], ""
	}
	rw.noting(w, r, upstream)
}

// list passes a request to a pull-through cache on. Only the lists of referrers are from here.
func (rw *rewriter) list(w http.ResponseWriter, r *http.Request, behind string) {
	if strings.HasPrefix(behind, "/referrers/") || strings.HasSuffix(behind, "/referrers") {
		rw.noting(w, r, rw.whole)
		return
	}
	rw.next.ServeHTTP(w, r)
}

// noting has the answer tell where it comes from.
func (rw *rewriter) noting(w http.ResponseWriter, r *http.Request, u *upstream) {
	ctx, note := withNote(r.Context())
	rw.next.ServeHTTP(&notingWriter{ResponseWriter: w, note: note, pause: u.pause}, r.WithContext(ctx))
}

// note is what the content of a mirror tells the answer.
type note struct {
	mu  sync.Mutex
	age time.Duration // of what was asked of the origin, if it is stale
}

type noteKey struct{}

func withNote(ctx context.Context) (context.Context, *note) {
	n := new(note)
	return context.WithValue(ctx, noteKey{}, n), n
}

// stale says that an answer rests on what the origin said so long ago.
func stale(ctx context.Context, age time.Duration) {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.age = max(n.age, age)
	}
}

// notingWriter sets the headers that tell where an answer comes from.
type notingWriter struct {
	http.ResponseWriter
	note  *note
	pause time.Duration // after how long a client may ask again for what the origin did not answer
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (w *notingWriter) WriteHeader(status int) {
	if !w.begun && status >= http.StatusOK {
		w.begun = true
		w.note.mu.Lock()
		age := w.note.age
		w.note.mu.Unlock()
		if age > 0 && status < http.StatusBadRequest {
			w.Header().Set("Age", strconv.Itoa(int(age.Seconds())))
		}
		if status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(w.pause.Seconds()))))
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *notingWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *notingWriter) Flush() {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (w *notingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
