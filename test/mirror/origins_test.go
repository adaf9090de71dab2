package mirror

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/pinned"
)

var serving = regexp.MustCompile(`serving on port ([0-9]+)`)

// crane starts the registry of go-containerregistry, which has no API for referrers, and returns
// its address. It ends with the test.
func crane(t *testing.T) (url string, stop func()) {
	t.Helper()
	cmd := exec.Command(pinned.Crane(t), "registry", "serve", "--address", "127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	port := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if parts := serving.FindStringSubmatch(lines.Text()); parts != nil {
				port <- parts[1]
			}
		}
	}()
	stop = func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	select {
	case p := <-port:
		return "http://127.0.0.1:" + p, stop
	case <-read:
		t.Fatal("crane registry serve has ended")
	case <-time.After(time.Minute):
		t.Fatal("crane registry serve does not listen")
	}
	return "", nil
}

// One mirror serves what registries of several makes have, those without an API for referrers
// included, and goes on when they are gone.
func TestOriginsOfOtherMakes(t *testing.T) {
	stock := harness.Start(t, harness.Options{Binary: harness.StockBinary(t)})
	craneURL, stopCrane := crane(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Page(404)(w, r, nil) }))
	t.Cleanup(page.Close)
	redirecting, ours := NewOrigin(t), NewOrigin(t)
	redirecting.Fail(ofList(Elsewhere(page.URL)))
	origins := map[string]struct {
		url    string
		pushes *harness.Client
	}{
		"stock": {stock.URL, stock.Client()}, "crane": {craneURL, harness.NewClient(t, craneURL)},
		"redirecting": {redirecting.URL, redirecting.Client}, "ours": {ours.URL, ours.Client},
	}
	config := "extensions: {mirror: {upstreams: {"
	contents := map[string]*Content{}
	for name, o := range origins {
		config += fmt.Sprintf("\n%s: {url: %s, ttl: 0s}, %s-fresh: {url: %s, ttl: 1h},", name, o.url, name, o.url)
		contents[name] = PushPlain(o.pushes, "team/app")
		if name != "ours" {
			contents[name].TagList(o.pushes)
		}
	}
	mirror := harness.Start(t, harness.Options{Config: config + "}}}"})
	c := mirror.Client()
	for name, o := range origins {
		t.Run(name, func(t *testing.T) {
			c, content, pushes := c.For(t), contents[name], o.pushes.For(t)
			content.Pull(t, c, name+"/team/app")
			content.Attach(pushes, "one more")
			if name != "ours" {
				content.TagList(pushes)
			}
			content.Pull(t, c, name+"/team/app")
			content.Pull(t, c, name+"-fresh/team/app")

			unsigned := pushes.PushImage("team/unsigned", "v1", "unsigned")
			if listed := c.Referrers(harness.OCI, name+"/team/unsigned", unsigned.Digest); len(listed) > 0 {
				t.Errorf("an image to which nothing is attached has %v", listed)
			}
			resp := c.Get(harness.OCI.Path(name+"/team/nowhere", unsigned.Digest))
			if name != "ours" || resp.Status != http.StatusOK { // which answers 200 to this itself
				resp.ExpectError(http.StatusNotFound, "NAME_UNKNOWN")
			}
			if tags := strings.Join(c.Tags(name+"/team/unsigned"), " "); tags != "v1" {
				t.Errorf("the tags are %q", tags)
			}
		})
	}
	_ = stock.Stop()
	stopCrane()
	redirecting.Server.Close()
	ours.Server.Close()
	for name, content := range contents {
		content.Pull(t, c, name+"-fresh/team/app")
		content.Pull(t, c, name+"/team/app") // stale
	}
}
