package router

import (
	"net/http"
	"strings"
)

// maxRanges is how many parts of a blob one request is served: for each of them
// distribution opens the blob again.
const maxRanges = 100

// Guarded takes from a request what distribution would spend memory, files or
// time on without bounds.
func Guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// With the parameters of the query in place, nobody looks for others in the
		// body. Distribution would, before it asks whether the client may push.
		r.Form = r.URL.Query()
		if strings.Count(r.Header.Get("Range"), ",") >= maxRanges {
			r.Header.Del("Range") // the whole blob is a right answer, too
		}
		next.ServeHTTP(w, r)
	})
}
