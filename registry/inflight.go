package registry

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// inFlight are the requests that are under way, and since when.
type inFlight struct {
	mu    sync.Mutex
	since map[*http.Request]time.Time
}

// track counts the requests that next serves.
func (f *inFlight) track(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if f.since == nil {
			f.since = map[*http.Request]time.Time{}
		}
		f.since[r] = time.Now()
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.since, r)
		}()
		next.ServeHTTP(w, r)
	})
}

// courtesy is how long work in the background stands back for requests.
const courtesy = 20 * time.Millisecond

// yield waits for a moment if there are any.
func (f *inFlight) yield(ctx context.Context) {
	f.mu.Lock()
	none := len(f.since) == 0
	f.mu.Unlock()
	if none {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(courtesy):
	}
}

// cutOff logs the requests that have not finished in the time that they had.
func (f *inFlight) cutOff(drain time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r, since := range f.since {
		logrus.WithFields(logrus.Fields{
			"http.request.method": r.Method, "http.request.uri": r.RequestURI, "http.request.remoteaddr": r.RemoteAddr,
			"http.request.duration": time.Since(since).Round(time.Millisecond),
		}).Warnf("request cut off: it has not finished within %s after the registry was told to stop", drain)
	}
}
