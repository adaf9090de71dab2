// Package hostile_test tests the registry with input that is made to harm it or its
// users.
package hostile_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// files are the paths of all files of a registry on the filesystem driver,
// without those that come and go in the background.
func files(t *testing.T, root string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.Contains(path, "/_refs/derived/") && !strings.Contains(path, layout.Collection) {
			found[path] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sameFiles expects a tree to have the same files as before.
func sameFiles(t *testing.T, root string, before map[string]bool) {
	t.Helper()
	after := files(t, root)
	for path := range after {
		if !before[path] {
			t.Errorf("%s was written", path)
		}
	}
	for path := range before {
		if !after[path] {
			t.Errorf("%s was removed", path)
		}
	}
}

// climbing are names and digests that would lead out of a repository if they were used
// as paths.
var climbing = []string{
	"..", "../..", "../other", "..%2f..%2fother", "%2e%2e", "%2e%2e/%2e%2e/other", "a/../other", "a%2f..%2fother", ".", "./a",
	"_refs", "a/_refs", "a/_refs/subjects", "app/_manifests", "app/_layers", "app/_uploads", "_manifests", "a%00b", "a%0ab",
	"a\\b", "a%5c..%5cb", "%2fetc%2fpasswd", "//etc/passwd", "a//b", "a%2f%2fb", "%25%32%65", "a%252f..%252fb",
	"sha256:..", "sha256:../../../x", "sha256:%2e%2e%2f" + strings.Repeat("a", 58), strings.Repeat("a", 10_000),
	strings.Repeat("a/", 5_000) + "a", "ü", "%ff%fe", "a b", "a%20b", "A",
}

func TestPathsThatClimb(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	secret := c.PushImage("other", "v1", "another layer")
	c.MustPush("other", "", harness.ORASArtifact("a/b").To(secret))
	before := files(t, r.Root)
	d, count := secret.Digest.String(), 0
	artifact := harness.ORASArtifact("a/b")
	for _, bad := range climbing {
		paths := []string{
			"/v2/" + bad + "/referrers/" + d, "/v2/app/" + bad + "/referrers/" + d, "/v2/app/referrers/" + bad,
			"/v2/" + bad + "/_oras/artifacts/referrers?digest=" + d, "/v2/app/_oras/artifacts/referrers?digest=" + bad,
			"/oras/artifacts/v1/" + bad + "/manifests/" + d + "/referrers", "/oras/artifacts/v1/app/manifests/" + bad + "/referrers",
			"/oras/artifacts/v1/" + bad + "/manifests/" + d, "/oras/artifacts/v1/app/manifests/" + bad,
			"/v2/" + bad + "/_oci/ext/discover", "/v2/" + bad + "/manifests/" + d, "/v2/app/manifests/" + bad,
			"/v2/" + bad + "/tags/list", "/v2/" + bad + "/blobs/" + d,
		}
		for _, path := range paths {
			if isTag.MatchString(path) {
				continue // odd, but a tag
			}
			for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
				resp, err := c.Do(t.Context(), harness.Request{
					Method: method, Path: path, Body: artifact.Bytes(), Header: harness.Header("Content-Type: " + artifact.ContentType),
				})
				if err != nil {
					continue // not a request that can be sent
				}
				count++
				ok := resp.Status == http.StatusOK && !strings.Contains(string(resp.Body), artifact.ArtifactType)
				if resp.Status >= 500 || resp.Status < 300 && !ok && method != "HEAD" {
					t.Errorf("%s", resp)
				}
			}
		}
		// A subject or blob with such a path.
		m := harness.ORASArtifact("a/b").To(image)
		m.Raw = []byte(strings.ReplaceAll(string(m.Bytes()), image.Digest.String(), jsonText(bad)))
		c.Push("app", "", m).Expect(http.StatusBadRequest)
	}
	t.Logf("%d requests", count)
	sameFiles(t, r.Root, before)
}

var isTag = regexp.MustCompile(`^/v2/app/manifests/\w[\w.-]{0,127}$`)

func jsonText(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }

// Values that are repeated in headers or in the log must not add lines.
func TestHeaderInjection(t *testing.T) {
	r := harness.Start(t, harness.Options{Config: harness.NewTokenIssuer(t).Config})
	open := harness.Start(t, harness.Options{})
	c := open.Client()
	image := c.PushImage("app", "v1", "layer")
	for i := range 3 {
		c.MustPush("app", "", harness.ORASArtifact("a/b\r\nX-Injected: yes").To(image).Annotated("n", fmt.Sprint(i)))
	}
	d := image.Digest.String()
	const lines = "%0d%0aX-Injected:%20yes%0d%0a%0d%0a"
	paths := []string{
		"/v2/app/referrers/" + d + "?n=1&artifactType=a/b%0d%0aX-Injected:%20yes",
		"/v2/app/referrers/" + d + "?n=1&other=" + lines, "/v2/app/referrers/" + d + "?n=" + lines,
		"/v2/app/referrers/" + d + "?nextToken=" + lines, "/v2/app/referrers/" + d + lines,
		"/v2/app" + lines + "/referrers/" + d, "/v2/app/_oras/artifacts/referrers?n=1&digest=" + d + lines,
		"/oras/artifacts/v1/app" + lines + "/manifests/" + d + "/referrers",
		"/oras/artifacts/v1/app/manifests/" + lines, "/v2" + lines + "/_oci/ext/discover",
		"/v2/app/_oras/artifacts/referrers?n=1&digest=" + d + "&artifactType=a/b%0d%0aX-Injected:%20yes",
	}
	for _, path := range paths {
		for _, registry := range []*harness.Registry{r, open} {
			for _, header := range []string{"X: y", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example"} {
				head := exchange(t, registry.Addr, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\nConnection: close\r\n\r\n")
				if strings.Contains(strings.ToLower(head), "\r\nx-injected") {
					t.Errorf("%s:\n%s", path, head)
				}
				if strings.Contains(head, "evil.example") && strings.Contains(head, "\r\nLink:") {
					t.Errorf("the link to the next page is another host's:\n%s", head)
				}
			}
		}
	}
	for _, log := range []string{r.Log(), open.Log()} {
		for line := range strings.Lines(log) {
			if strings.HasPrefix(line, "X-Injected") {
				t.Errorf("a line of the log is the client's: %s", line)
			}
		}
	}
	// A manifest with such an artifactType is found by it.
	if found := c.Referrers(harness.OCI, "app", image.Digest, "n", "1", "artifactType", "a/b\r\nX-Injected: yes"); len(found) != 3 {
		t.Errorf("%d are found", len(found))
	}
}

// send sends a request verbatim. The connection is closed with the test.
func send(t *testing.T, addr, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// exchange sends a request verbatim and returns the head of the answer.
func exchange(t *testing.T, addr, request string) string {
	t.Helper()
	conn := send(t, addr, request)
	defer conn.Close()
	var head strings.Builder
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String()
		}
	}
}

// Clients that send or read nothing do not keep others from being served, and do not
// keep the registry from stopping.
func TestSlowClients(t *testing.T) {
	r := harness.Start(t, harness.Options{Config: "http: {draintimeout: 2s}"})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	for i := range 20 {
		m := harness.ORASArtifact("a/b").To(image).Annotated("filling", strings.Repeat("x", 190_000)).Annotated("n", fmt.Sprint(i))
		c.MustPush("app", "", m)
	}
	d := image.Digest.String()
	artifact := harness.ORASArtifact("a/b").To(image)
	idle := r.Memory()
	const clients = 150
	for i := range clients {
		conn, err := net.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request := []string{
			"GET /v2/app/referrers/" + d + " HTTP/1.1\r\nHost: localhost\r\n\r\n", // and never reads
			"PUT /v2/app/manifests/slow HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + artifact.ContentType +
				"\r\nContent-Length: 100000\r\n\r\n{", // and never goes on
			"GET /v2/app/refe", // not even a whole line
		}[i%3]
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		m := artifact.Annotated("late", fmt.Sprint(i))
		c.MustPush("app", "", m)
		c.GetManifest("app", m.Digest().String()).Expect(http.StatusOK)
		if found := c.Referrers(harness.OCI, "app", image.Digest); len(found) != 21+i {
			t.Errorf("%d referrers, want %d", len(found), 21+i)
		}
	}
	grown := r.Memory() - idle
	t.Logf("%d clients that wait: %d MiB more", clients, grown>>20)
	if grown > harness.MiB(200) {
		t.Errorf("%d bytes more in use", grown)
	}
	c.GetManifest("app", "slow").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	begun := time.Now()
	_ = r.Stop()
	t.Logf("ended %s after SIGTERM", time.Since(begun).Round(time.Millisecond))
}
