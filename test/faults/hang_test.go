package faults

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// If the storage hangs, requests end when their clients disconnect, and leave no
// goroutines behind. The test counts goroutines, and so runs alone.
func TestHang(t *testing.T) {
	w := newWorld(t, "objects")
	k := w.kinds()[0]
	tree := w.with(t, k)
	driver := faultdriver.New(tree)
	r := inprocess.Start(t, driver, inprocess.Options{})
	w.listed(t, r, k.manifest.Digest())
	requests := []harness.Request{
		put(k),
		{Method: http.MethodGet, Path: harness.ManifestPath(repository, k.reference()), Header: harness.Header(harness.AcceptAll)},
		{Method: http.MethodGet, Path: harness.OCI.Path(repository, w.subject.Digest)},
		{Method: http.MethodGet, Path: harness.RC.Path(repository, w.subject.Digest)},
	}
	before := runtime.NumGoroutine()
	hung := 0
	for range 5 {
		for _, request := range requests {
			for n := 1; hang(t, driver, r, request, n); n++ {
				hung++
			}
		}
	}
	if hung < 20 {
		t.Errorf("only %d requests hung", hung)
	}
	// Background writes may hang as well, until they give up after two minutes.
	for deadline := time.Now().Add(3 * time.Minute); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d requests that hung left %d goroutines behind:\n%s", hung, after-before, stacks[:runtime.Stack(stacks, true)])
	}
	if !w.listed(t, r, k.manifest.Digest()) {
		t.Error("afterwards it is not listed")
	}
}

// hang sends a request for which all operations from the n-th on hang, and disconnects.
// It reports whether the request came to the n-th operation. Background writes of the
// index do not depend on a client, and do not hang.
func hang(t *testing.T, driver *faultdriver.Driver, r *inprocess.Registry, request harness.Request, n int) bool {
	t.Helper()
	driver.Reset()
	var asked atomic.Int64
	driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
		if strings.Contains(o.Path, "/_refs/derived/") || asked.Add(1) < int64(n) {
			return faultdriver.None
		}
		return faultdriver.Hang
	})
	defer driver.Reset()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = r.For(t).Do(ctx, request)
	}()
	select {
	case <-ended:
		return false
	case <-driver.Waiting():
	}
	cancel()
	for {
		select {
		case <-ended:
			return true
		case <-driver.Waiting(): // an operation beside the first
		case <-time.After(time.Minute):
			t.Fatalf("%s %s goes on without its client", request.Method, request.Path)
		}
	}
}
