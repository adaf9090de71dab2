package hostile_test

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// brokenTransfers are bodies that are not in the form of a chunked transfer, with the bytes
// "content" before the error.
func brokenTransfers() []string {
	const begun = "7\r\ncontent\r\n"
	return []string{
		begun + "x\r\ncontent\r\n0\r\n\r\n", begun + "-1\r\n", begun + "\r\n", begun + "ffffffffffffffffff\r\n", begun + strings.Repeat("0", 10_000) + "1\r\n",
		"7\r\ncontentcontent\r\n0\r\n\r\n", begun + "0\r\nno trailer\r\n\r\n",
	}
}

// A blob or manifest whose transfer is malformed is refused as the client's error, whatever
// the way of uploading, and leaves nothing.
func TestMalformedTransfers(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	d := digest.FromString("content")
	for _, body := range brokenTransfers() {
		for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut} {
			target := "/v2/app/blobs/uploads/"
			if method != http.MethodPost {
				target = c.Send(http.MethodPost, target, nil).Expect(http.StatusAccepted).Header.Get("Location")
			}
			at, err := url.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			query := at.Query()
			if method != http.MethodPatch {
				query.Set("digest", d.String())
			}
			status, answer := transfer(t, r.Addr, method+" "+at.Path+"?"+query.Encode(), body)
			if status != http.StatusBadRequest || !strings.Contains(answer, `"code":"BLOB_UPLOAD_INVALID"`) {
				t.Errorf("%s of %.40q: %d %s", method, body, status, answer)
			}
			if method != http.MethodPost {
				begun := c.Get(target).Expect(http.StatusNoContent) // which can be continued, or cancelled
				c.Delete(begun.Header.Get("Location")).Expect(http.StatusNoContent)
			}
		}
	}
	for _, body := range brokenTransfers() {
		status, answer := transfer(t, r.Addr, "PUT "+harness.ManifestPath("app", "v1"), body)
		if status != http.StatusBadRequest || !strings.Contains(answer, `"code":"MANIFEST_INVALID"`) {
			t.Errorf("a manifest as %.40q: %d %s", body, status, answer)
		}
	}
	c.Get(harness.BlobPath("app", d)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN")
	if left := files(t, r.Root); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// transfer sends a request with a chunked body, verbatim, and reads the answer.
func transfer(t *testing.T, addr, request, body string) (status int, answer string) {
	t.Helper()
	conn := send(t, addr, request+" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
	defer conn.Close()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content)
}
