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
