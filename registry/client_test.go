package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// client sends requests to a handler over HTTP.
type client struct {
	t   *testing.T
	url string
}

func newClient(t *testing.T, handler http.Handler) client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return client{t, server.URL}
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
}

func (c client) do(method, target, body string, header ...string) reply {
	c.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = c.url + target
	}
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(content)}
}

// expect is do, and fails the test if the answer has another status.
func (c client) expect(status int, method, target, body string, header ...string) reply {
	c.t.Helper()
	answer := c.do(method, target, body, header...)
	if answer.status != status {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, target, answer.status, status, answer.body)
	}
	return answer
}

func (c client) pushBlob(content string) v1.Descriptor {
	c.t.Helper()
	desc := v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString(content), Size: int64(len(content))}
	location := c.expect(http.StatusAccepted, http.MethodPost, "/v2/app/blobs/uploads/", "").header.Get("Location")
	c.expect(http.StatusCreated, http.MethodPut, location+"&digest="+desc.Digest.String(), content, "Content-Type", desc.MediaType)
	return desc
}

// push pushes a manifest by digest, and by a tag if there is one.
func (c client) push(mediaType, content string, tag ...string) v1.Descriptor {
	c.t.Helper()
	desc := v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
	for _, reference := range append(tag, desc.Digest.String()) {
		c.expect(http.StatusCreated, http.MethodPut, manifestPath(reference), content, "Content-Type", mediaType)
	}
	return desc
}

// pushImage pushes an image with one layer.
func (c client) pushImage(layer string, tag ...string) v1.Descriptor {
	c.t.Helper()
	return c.push(v1.MediaTypeImageManifest, jsonOf(c.t, map[string]any{
		"schemaVersion": 2, "mediaType": v1.MediaTypeImageManifest,
		"config": c.pushBlob("config of " + layer), "layers": []v1.Descriptor{c.pushBlob(layer)},
	}), tag...)
}

func manifestPath(reference string) string { return "/v2/app/manifests/" + reference }

// problem is the first error of a refused request.
type problem struct {
	Code   string
	Detail []struct{ Field, Reason string }
}

func (r reply) problem(t *testing.T) problem {
	t.Helper()
	var body struct{ Errors []json.RawMessage }
	var first problem
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || len(body.Errors) != 1 {
		t.Fatalf("no error body: %v: %s", err, r.body)
	}
	if err := json.Unmarshal(body.Errors[0], &first); err != nil && first.Code == "" {
		t.Fatal(err)
	}
	return first
}

// fields are the members for which a manifest was refused.
func (p problem) fields() string {
	var names []string
	for _, d := range p.Detail {
		names = append(names, d.Field)
	}
	return fmt.Sprint(names)
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
