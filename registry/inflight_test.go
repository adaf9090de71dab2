package registry

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// Work in the background stands back while there are requests, and not otherwise.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests inFlight
		took := func(ctx context.Context) time.Duration {
			began := time.Now()
			requests.yield(ctx)
			return time.Since(began)
		}
		handler := requests.track(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got := took(r.Context()); got != courtesy {
				t.Errorf("during a request it waits for %s", got)
			}
			ended, cancel := context.WithCancel(r.Context())
			cancel()
			if got := took(ended); got != 0 {
				t.Errorf("when it is told to end it waits for %s", got)
			}
		}))
		for range 2 {
			if got := took(t.Context()); got != 0 {
				t.Errorf("without a request it waits for %s", got)
			}
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v2/", nil))
		}
	})
}
