package mirror

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// The states of what a mirror knows when something goes wrong with the origin.
const (
	cold  = "cold"  // nothing
	warm  = "warm"  // it has just asked
	stale = "stale" // it has asked, and would ask again
	old   = "old"   // it has asked too long ago
)

var states = []string{cold, warm, stale, old}

// table is a mirror with one upstream for each row. All are one origin, which tells by the first
// part of a name what has to go wrong.
type table struct {
	rows    []Row
	origin  *Origin
	refused *httptest.Server // the origin at an address that stops listening
	mirror  *harness.Registry
	content map[string]*Content
}

func newTable(t *testing.T) *table {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		if r.URL.Path == NoTokens {
			status = http.StatusNotFound
		}
		Page(status)(w, r, nil)
	}))
	t.Cleanup(page.Close)
	tb := &table{rows: Rows(page.URL), origin: NewOrigin(t), content: map[string]*Content{}}
	tb.origin.Registry = WithAccount(tb.origin.Registry)
	tb.refused = httptest.NewServer(tb.origin)
	t.Cleanup(tb.refused.Close)
	for _, row := range tb.rows {
		for _, state := range states {
			name := row.Name + "/" + state
			tb.content[name] = Push(tb.origin.Client, name)
		}
	}
	tb.mirror = harness.Start(t, harness.Options{Config: tb.config(func(Row) time.Duration { return time.Minute })})
	return tb
}

// config is the configuration of the mirror.
func (tb *table) config(timeout func(Row) time.Duration) string {
	config := "extensions: {mirror: {upstreams: {"
	for _, row := range tb.rows {
		url := tb.origin.URL
		if row.Fault == nil {
			url = tb.refused.URL
		}
		config += fmt.Sprintf("\n%q: {url: %s/%s, ttl: 1h, maxstale: 24h, timeout: %s, username: %s, password: %s},", row.Name, url, row.Name, timeout(row), User, Password)
	}
	return config + "}}}"
}

// fail makes everything go wrong, or nothing.
func (tb *table) fail(now bool) {
	if !now {
		tb.origin.Fail(nil)
		return
	}
	faults := map[string]Fault{}
	for _, row := range tb.rows {
		faults[row.Name] = row.Fault
	}
	tb.origin.Fail(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		faults[strings.Split(r.URL.Path, "/")[2]](w, r, registry)
	})
}

// each runs a test for each row, all at the same time.
func (tb *table) each(t *testing.T, name string, test func(t *testing.T, row Row)) {
	t.Run(name, func(t *testing.T) {
		for _, row := range tb.rows {
			t.Run(row.Name, func(t *testing.T) {
				t.Parallel()
				test(t, row)
			})
		}
	})
}

// Whatever an origin does, clients of a mirror get what is true, or a clear error; what was true
// is given as long as it may be; and when the origin is well again, everything can be pulled.
func TestFaults(t *testing.T) {
	tb := newTable(t)
	tb.each(t, "well", func(t *testing.T, row Row) {
		for _, state := range states[1:] {
			name := row.Name + "/" + state
			tb.content[name].Pull(t, tb.mirror.Client().For(t), name)
		}
	})
	if t.Failed() {
		return
	}
	_ = tb.mirror.Stop()
	for _, row := range tb.rows {
		Age(t, tb.mirror.Root, row.Name+"/"+stale, 2*time.Hour)
		Age(t, tb.mirror.Root, row.Name+"/"+old, 48*time.Hour)
	}
	tb.mirror.RestartConfigured(tb.config(func(row Row) time.Duration { return row.Timeout }))
	tb.refused.CloseClientConnections()
	tb.refused.Close()
	tb.fail(true)
	tb.each(t, "faulty", func(t *testing.T, row Row) {
		for _, state := range states {
			t.Run(state, func(t *testing.T) { tb.expect(t, row, state) })
		}
	})
	tb.fail(false)
	tb.each(t, "well again", func(t *testing.T, row Row) {
		for _, state := range states {
			if row.Fault != nil {
				tb.recovers(t, row, row.Name+"/"+state)
			}
		}
	})
	_ = tb.mirror.Stop()
	Intact(t, tb.mirror.Root)
	secretive(t, tb.mirror.Log())
}

// secretive expects a text to have no credentials, and nothing that was signed.
func secretive(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{Password, SecretQuery, strings.TrimPrefix(harness.Basic(User, Password), "Basic ")} {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s shows a secret: %.500s", secret, text[max(0, at-200):])
		}
	}
}

// expect asks for everything in a repository of one state.
func (tb *table) expect(t *testing.T, row Row, state string) {
	name := row.Name + "/" + state
	content := tb.content[name]
	cells := map[string]Cells{cold: row.Cold, warm: {Tag: "200", List: "200"}, stale: row.Stale, old: row.Old}[state]
	if state != cold {
		cells.Manifest, cells.Blob = "200", "200"
	}
	asked := len(tb.origin.Asked("/" + name + "/"))
	tag := tb.expectCell(t, cells.Tag, harness.ManifestPath(name, "v1"), "MANIFEST_UNKNOWN")
	if tag != nil && tag.Status == http.StatusOK {
		tag.ExpectBody(content.ImageBytes)
	}
	for _, route := range harness.Routes() {
		resp := tb.expectCell(t, cells.List, route.Path(name, content.Image.Digest), "NAME_UNKNOWN")
		if resp != nil && resp.Status == http.StatusOK {
			content.Whole(t, route, harness.Digests(route.Entries(resp)))
		}
	}
	if resp := tb.expectCell(t, cells.Manifest, harness.ManifestPath(name, content.Image.Digest.String()), "MANIFEST_UNKNOWN"); resp != nil && resp.Status == http.StatusOK {
		resp.ExpectBody(content.ImageBytes)
	}
	if resp := tb.expectCell(t, cells.Blob, harness.BlobPath(name, content.Layer.Digest), "BLOB_UNKNOWN"); resp != nil && resp.Status == http.StatusOK {
		resp.ExpectBody(content.LayerBytes)
	}
	if cells.Blob == "broken" {
		tb.expectCell(t, cells.Blob, harness.BlobPath(name, content.Layer.Digest), "", "Range: bytes=0-9")
	}
	if after := len(tb.origin.Asked("/" + name + "/")); state == warm && after != asked {
		t.Errorf("the origin was asked for what is fresh")
	}
}

// expectCell asks for something, and expects what is in the table.
func (tb *table) expectCell(t *testing.T, cell, path, unknown string, headers ...string) *harness.Response {
	t.Helper()
	c := tb.mirror.Client().For(t)
	resp, err := c.Do(context.Background(), harness.Request{Method: http.MethodGet, Path: path, Header: harness.Header(append(headers, harness.AcceptAll)...)})
	if cell == "broken" {
		if err == nil {
			t.Errorf("the answer is not broken off: %s", resp)
		}
		return nil
	}
	if err != nil {
		t.Errorf("GET %s: %v", path, err)
		return nil
	}
	want, age, _ := strings.Cut(cell, " ")
	if strconv.Itoa(resp.Status) != want {
		t.Errorf("expected %s: %s", cell, resp)
		return resp
	}
	switch seconds, _ := strconv.Atoi(resp.Header.Get("Age")); {
	case age == "age" && (seconds < 7200 || seconds > 9000):
		t.Errorf("Age is %q, expected two hours: %s", resp.Header.Get("Age"), resp)
	case age == "":
		resp.ExpectNoHeader("Age")
	}
	if want != "200" {
		resp.ExpectError(resp.Status, map[string]string{"503": "UNAVAILABLE", "403": "DENIED", "404": unknown}[want])
		secretive(t, resp.String())
	}
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); want == "503" && (err != nil || after < 1 || after > 10) {
		t.Errorf("Retry-After is %q: %s", resp.Header.Get("Retry-After"), resp)
	}
	return resp
}

// recoveryTime is how long it may take at most until all is well again.
const recoveryTime = 30 * time.Second

// recovers waits until everything can be pulled from a repository.
func (tb *table) recovers(t *testing.T, row Row, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recoveryTime)
	defer cancel()
	content, c := tb.content[name], tb.mirror.Client().For(t)
	for _, path := range []string{
		harness.ManifestPath(name, "v1"), harness.OCI.Path(name, content.Image.Digest), harness.BlobPath(name, content.Layer.Digest),
	} {
		for {
			resp, err := c.Do(ctx, harness.Request{Method: http.MethodGet, Path: path, Header: harness.Header(harness.AcceptAll)})
			if err == nil && resp.Status == http.StatusOK && resp.Header.Get("Age") == "" {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("all is well for %s, and still: %v, %v", recoveryTime, resp, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if row.Timeout >= time.Second { // the machine may be busy
		content.Pull(t, c, name)
	}
}
