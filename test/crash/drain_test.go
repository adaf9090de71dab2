//go:build !e2e

package crash_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// slowBody is a body whose rest is sent when it is released.
type slowBody struct {
	started chan struct{} // closed when its beginning was read
	release chan struct{}
	content *strings.Reader
	begun   bool
}

// Read implements io.Reader.
func (b *slowBody) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		return b.content.Read(p[:1])
	}
	if b.started != nil {
		close(b.started)
		b.started = nil
		<-b.release
	}
	return b.content.Read(p)
}

func TestSIGTERMLetsRequestsFinish(t *testing.T) {
	r := harness.Start(t, harness.Options{Config: "{http: {draintimeout: null}, log: {level: debug}}"})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	m := harness.ORASArtifact("test/slow").To(image)
	body := &slowBody{make(chan struct{}), make(chan struct{}), strings.NewReader(string(m.Bytes())), false}
	started := body.started
	type outcome struct {
		resp *harness.Response
		err  error
	}
	answered := make(chan outcome, 1)
	go func() {
		resp, err := c.Do(context.Background(), harness.Request{
			Method: http.MethodPut, Path: harness.ManifestPath("app", m.Digest().String()),
			Header: harness.Header("Content-Type: " + m.ContentType), Reader: io.Reader(body),
		})
		answered <- outcome{resp, err}
	}()
	<-started
	r.AwaitLog("PutImageManifest.*" + m.Digest().String()) // the request has arrived
	if err := syscall.Kill(r.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitRefusal(t, r)
	close(body.release) // the request in flight may finish
	got := <-answered
	if got.err != nil {
		t.Fatalf("a push that had begun before SIGTERM: %v", got.err)
	}
	got.resp.Expect(http.StatusCreated)
	<-r.Done()
	if err := r.Stop(); err != nil {
		t.Errorf("the exit status after SIGTERM: %v", err)
	}
	r.Restart()
	listed := r.Client().Referrers(harness.OCI, "app", image.Digest)
	if len(listed) != 1 || listed[0].Digest != m.Digest() {
		t.Errorf("the manifest that was pushed while draining is not listed: %+v", listed)
	}
}

// A request that takes too long is cut off in time for `docker stop`, and logged.
func TestRequestsThatDoNotFinish(t *testing.T) {
	for config, limit := range map[string]string{"{http: {draintimeout: 100ms}, log: {level: debug}}": "100ms", "{http: {draintimeout: null}, log: {level: debug}}": "8s"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			r := harness.Start(t, harness.Options{Config: config})
			body := &slowBody{make(chan struct{}), make(chan struct{}), strings.NewReader("{}"), false}
			defer close(body.release)
			started := body.started
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				_, _ = r.Client().Do(ctx, harness.Request{
					Method: http.MethodPut, Path: harness.ManifestPath("app", "v1"),
					Header: harness.Header("Content-Type: a/b"), Reader: io.Reader(body),
				})
			}()
			<-started
			r.AwaitLog("PutImageManifest")
			begin := time.Now()
			if err := r.Stop(); err != nil {
				t.Errorf("the exit status: %v", err)
			}
			if took := time.Since(begin); took > 9500*time.Millisecond {
				t.Errorf("it took %s", took)
			}
			if line := r.AwaitLog("request cut off"); !strings.Contains(line, "within "+limit) || !strings.Contains(line, "/v2/app/manifests/v1") || !strings.Contains(line, "PUT") {
				t.Errorf("the log says %q", line)
			}
		})
	}
}

// awaitRefusal waits until the registry takes no new connections.
func awaitRefusal(t *testing.T, r *harness.Registry) {
	t.Helper()
	for {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Addr)
		if err != nil {
			return
		}
		conn.Close()
		select {
		case <-r.Done():
			t.Fatal("the registry has ended with a request under way")
		default:
		}
	}
}
