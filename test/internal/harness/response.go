package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"testing"

	"github.com/oras-distribution/registry/internal/layout"
)

// Response is an answer that has been read. The methods that expect something fail the
// test if it is not so, and return the response.
type Response struct {
	Request Request
	Status  int
	Header  http.Header
	Body    []byte

	t testing.TB
}

// Error is one entry of the error body of the distribution-spec.
type Error struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail"`
}

// Problem is one entry of the detail with which a manifest is refused.
type Problem struct{ Field, Reason string }

// String says what was asked and answered.
func (r *Response) String() string {
	body := string(r.Body)
	if len(body) > 2000 {
		body = body[:2000] + "…"
	}
	path := r.Request.Path
	if len(path) > 500 {
		path = path[:500] + "…"
	}
	return fmt.Sprintf("%s %s: %d %s", r.Request.Method, path, r.Status, body)
}

// Err is the response as an error.
func (r *Response) Err() error { return fmt.Errorf("%s", r) }

// Expect ends the test if the status differs.
func (r *Response) Expect(status int) *Response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("expected %d: %s", status, r)
	}
	return r
}

// ExpectHeader expects a header to have exactly one value.
func (r *Response) ExpectHeader(name, value string) *Response {
	r.t.Helper()
	if got := r.Header.Values(name); len(got) != 1 || got[0] != value {
		r.t.Errorf("%s is %q, expected %q: %s", name, got, value, r)
	}
	return r
}

// ExpectNoHeader expects a header not to be there.
func (r *Response) ExpectNoHeader(name string) *Response {
	r.t.Helper()
	if got := r.Header.Values(name); len(got) > 0 {
		r.t.Errorf("%s is %q, expected none: %s", name, got, r)
	}
	return r
}

// ExpectBody expects the body to be exactly the given bytes.
func (r *Response) ExpectBody(body []byte) *Response {
	r.t.Helper()
	if string(r.Body) != string(body) {
		r.t.Errorf("expected the body %s: %s", body, r)
	}
	return r
}

// ExpectError expects a refusal: the status, the distribution-spec's error body
// as JSON with the code in its first entry, and a length.
func (r *Response) ExpectError(status int, code string) *Response {
	r.t.Helper()
	r.Expect(status)
	if r.Request.Method == http.MethodHead {
		return r
	}
	if ok, _ := regexp.MatchString(`^application/json(; ?charset=utf-8)?$`, r.Header.Get("Content-Type")); !ok {
		r.t.Errorf("an error with Content-Type %q: %s", r.Header.Get("Content-Type"), r)
	}
	if errors := r.Errors(); len(errors) == 0 || errors[0].Code != code {
		r.t.Errorf("expected the code %s: %s", code, r)
	} else if errors[0].Message == "" {
		r.t.Errorf("an error without a message: %s", r)
	}
	return r
}

// ExpectLength expects Content-Length to be the length of the response's body, or of the
// given one for an answer to HEAD.
func (r *Response) ExpectLength(head int) *Response {
	r.t.Helper()
	length := len(r.Body)
	if r.Request.Method == http.MethodHead {
		length = head
	}
	return r.ExpectHeader("Content-Length", strconv.Itoa(length))
}

// Errors are the entries of an error body. It expects them to show no path of the storage.
func (r *Response) Errors() []Error {
	r.t.Helper()
	if bytes.Contains(r.Body, []byte(layout.Root)) {
		r.t.Errorf("an error shows where something is stored: %s", r)
	}
	var body struct{ Errors []Error }
	r.JSON(&body)
	return body.Errors
}

// Problems are what is wrong with a refused manifest: the details of all errors
// that are lists of problems.
func (r *Response) Problems() []Problem {
	r.t.Helper()
	var all []Problem
	for _, e := range r.Errors() {
		var list []Problem
		if json.Unmarshal(e.Detail, &list) == nil {
			all = append(all, list...)
		}
	}
	return all
}

// JSON decodes the body.
func (r *Response) JSON(into any) {
	r.t.Helper()
	if err := json.Unmarshal(r.Body, into); err != nil {
		r.t.Fatalf("%v: %s", err, r)
	}
}

var nextLink = regexp.MustCompile(`^<([^>]*)>; rel="next"$`)

// Next is the path of the next page, "" if there is none. It expects a relative
// URL.
func (r *Response) Next() string {
	r.t.Helper()
	links := r.Header.Values("Link")
	if len(links) == 0 {
		return ""
	}
	match := nextLink.FindStringSubmatch(links[0])
	if len(links) > 1 || match == nil {
		r.t.Fatalf("Link is %q: %s", links, r)
	}
	link, err := url.Parse(match[1])
	if err != nil || link.IsAbs() || link.Host != "" || link.Path == "" || link.Path[0] != '/' {
		r.t.Fatalf("the next page is at %q, which is no relative URL: %v", match[1], err)
	}
	return match[1]
}
