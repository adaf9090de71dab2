package hostile_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// codes are those of distribution-spec v1.1, "Error Codes", and further ones that
// distribution has for a bad request.
const codes = " BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID " +
	"MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS " +
	"PAGINATION_NUMBER_INVALID RANGE_INVALID TAG_INVALID "

// noUpload is the name of an upload that is not open.
const noUpload = "00000000-0000-0000-0000-000000000000"

// odd are texts in the place of a name, tag, digest, number or upload.
func odd() []string {
	list := []string{
		"0", "-1", "1e9", "99999999999999999999", "0x10", "%00", "%0a", "%0d%0aX:%20y", "%ff", "%20", "%2e%2e", "..%2f..", "=", "a=b", "_", "~", "+",
		"sha256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("0", 63), "sha512:" + strings.Repeat("0", 128), "sha384:" + strings.Repeat("0", 96),
		"md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:", ":", "sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("A", 64), "SHA256:" + strings.Repeat("a", 64),
		"blake3:" + strings.Repeat("0", 64), "a.b+c:00", "00000000-0000-0000-0000-000000000000", "data", "startedat", "hashstates", "%25", "'", "\"", "%3f", "%23", ";", "null",
		"Example.com:5000", "example.com:5000", "example.com:5000/a", "Example.com/a", "localhost:5000/a", "a..b", "..", "../app", "..%2fapp", "a%2f..%2fapp", "/app", "a--b", "a__b", "a___b", "a.b", "[::1]/a", "[::1]:5000/a",
	}
	for _, length := range []int{128, 129, 255, 256, 5000} {
		list = append(list, strings.Repeat("a", length), strings.Repeat("a/", length/2)+"b")
	}
	return list
}

// probe sends a request and expects no failure of the registry's own, and no code that says
// nothing.
func probe(t *testing.T, c *harness.Client, r harness.Request) *harness.Response {
	t.Helper()
	answer, err := c.Do(t.Context(), r)
	if err != nil {
		return nil // not a request that can be sent
	}
	if answer.Status >= http.StatusInternalServerError {
		t.Errorf("%s", short(answer))
	} else if answer.Status >= http.StatusBadRequest && strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") && r.Method != http.MethodHead {
		for _, e := range answer.Errors() {
			if !strings.Contains(codes, " "+e.Code+" ") {
				t.Errorf("the code is %s: %s", e.Code, short(answer))
			}
		}
	}
	return answer
}

// short is an answer without the middle of long texts.
func short(answer *harness.Response) string {
	return regexp.MustCompile(`(a/?){100,}`).ReplaceAllString(answer.String(), "a…")
}

// Whatever stands in the place of a name, reference, number or upload, distribution's
// own routes blame the client and not the registry, and nothing changes.
func TestOddRequests(t *testing.T) {
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			r := harness.Start(t, harness.Options{Driver: driver})
			c := r.Client()
			image := c.PushImage("app", "v1", "layer")
			c.MustPush("untagged", "", harness.ORASArtifact("a/b"))
			d, count := image.Digest.String(), 0
			send := func(path string, body []byte, methods ...string) {
				for _, method := range methods {
					probe(t, c, harness.Request{Method: method, Path: path, Body: body})
					count++
				}
			}
			for _, o := range odd() {
				for _, path := range []string{
					"/v2/" + o + "/manifests/v1", "/v2/" + o + "/manifests/" + d, "/v2/" + o + "/blobs/" + d, "/v2/" + o + "/tags/list", "/v2/" + o, "/v2/_catalog/" + o,
					"/v2/" + o + "/blobs/uploads/" + noUpload, "/v2/" + o + "/referrers/" + d, "/v2/app/manifests/" + o, "/v2/app/blobs/" + o,
					"/v2/app/blobs/uploads/" + o, "/v2/app/blobs/uploads/" + o + "?digest=" + d, "/v2/app/blobs/uploads/" + noUpload + "?_state=" + o + "&digest=" + o,
				} {
					send(path, nil, "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "POST")
				}
				for _, path := range []string{
					"/v2/app/tags/list?n=" + o, "/v2/app/tags/list?last=" + o, "/v2/app/tags/list?n=1&last=" + o, "/v2/untagged/tags/list?n=1&last=" + o,
					"/v2/_catalog?n=" + o, "/v2/_catalog?last=" + o, "/v2/_catalog?n=1&last=" + o,
				} {
					send(path, nil, "GET")
				}
				for _, path := range []string{
					"/v2/" + o + "/blobs/uploads/", "/v2/app/blobs/uploads/?mount=" + o + "&from=app", "/v2/app/blobs/uploads/?mount=" + d + "&from=" + o,
					"/v2/app/blobs/uploads/?mount=" + o, "/v2/app/blobs/uploads/?digest=" + o, "/v2/app/blobs/uploads/?digest=" + o + "&mount=" + o,
				} {
					send(path, []byte("{}"), "POST")
				}
			}
			t.Logf("%d requests", count)
			c.GetManifest("app", "v1").Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", d)
			if tags := c.Tags("app"); fmt.Sprint(tags) != "[v1]" {
				t.Errorf("the tags are %v", tags)
			}
		})
	}
}

// Uploads that are not sent as they should be are refused, and can be completed.
func TestOddUploads(t *testing.T) {
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			c := harness.Start(t, harness.Options{Driver: driver}).Client()
			content := []byte("content")
			d := digest.FromBytes(content)
			for _, header := range []string{
				"Content-Range: 1-7", "Content-Range: 0-5", "Content-Range: 0-7", "Content-Range: 7-0", "Content-Range: -1-5", "Content-Range: 0", "Content-Range: a-b",
				"Content-Range: bytes 0-6/7", "Content-Range: 0-99999999999999999999", "Content-Range: -", "Content-Type: text/plain", "Content-Type: multipart/form-data; boundary=x",
				"Content-Type: application/octet-stream; charset=x", "Content-Type: ;", "Content-Encoding: gzip", "X: y",
			} {
				location := c.Send(http.MethodPost, "/v2/app/blobs/uploads/", nil).Expect(http.StatusAccepted).Header.Get("Location")
				answer := probe(t, c, harness.Request{Method: http.MethodPatch, Path: location, Body: content, Header: harness.Header(header)})
				if answer.Status == http.StatusAccepted {
					continue
				}
				if strings.HasPrefix(header, "Content-Range: ") && answer.Status != http.StatusRequestedRangeNotSatisfiable && answer.Status != http.StatusBadRequest {
					t.Errorf("%s: %s", header, answer)
				}
				probe(t, c, harness.Request{Method: http.MethodPut, Path: location + "&digest=" + d.String(), Body: content, Header: harness.Header(header)})
			}
			for _, o := range odd() {
				location := c.Send(http.MethodPost, "/v2/app/blobs/uploads/", nil).Expect(http.StatusAccepted).Header.Get("Location")
				answer := probe(t, c, harness.Request{Method: http.MethodPut, Path: location + "&digest=" + o, Body: content})
				if answer != nil && answer.Status < 400 {
					t.Errorf("%s", answer)
				}
			}
			for _, bounds := range []string{"bytes=0-", "bytes=-1", "bytes=5-2", "bytes=99-", "bytes=a-b", "bytes=", "items=0-1", "bytes=0-0,2-3", "bytes=-99999999999999999999", "x", "bytes=0-1,"} {
				c.PushBlob("app", content)
				probe(t, c, harness.Request{Method: http.MethodGet, Path: harness.BlobPath("app", d), Header: harness.Header("Range: " + bounds)})
				probe(t, c, harness.Request{Method: http.MethodHead, Path: harness.BlobPath("app", d), Header: harness.Header("Range: " + bounds)})
			}
		})
	}
}
