package hostile_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// A body that is declared as a form is not parsed for parameters: a client without
// credentials is refused before it has sent most of it.
func TestFormsOfStrangers(t *testing.T) {
	r := harness.Start(t, harness.Options{Config: harness.HTPasswd(t, "user", "secret")})
	begun := "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n" + strings.Repeat("x", 1<<20) // a server reads some on, to keep the connection
	for _, form := range []string{"multipart/form-data; boundary=b", "application/x-www-form-urlencoded"} {
		for _, line := range []string{"POST /v2/app/blobs/uploads/", "PUT /v2/app/blobs/uploads/x", "PUT /v2/app/manifests/v1"} {
			head := exchange(t, r.Addr, line+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+form+"\r\nContent-Length: 1000000000\r\n\r\n"+begun)
			if !strings.HasPrefix(head, "HTTP/1.1 401 ") {
				t.Errorf("%s as %s: %q", line, form, head)
			}
		}
	}
}

// A blob is not parsed as a form, whatever its Content-Type.
func TestBlobsSentAsForms(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	for _, form := range []string{"multipart/form-data; boundary=b", "application/x-www-form-urlencoded"} {
		content := []byte("a=b&digest=" + form)
		blob := harness.BlobDescriptor(content)
		upload := c.Send(http.MethodPost, "/v2/app/blobs/uploads/", nil).Expect(http.StatusAccepted).Header.Get("Location")
		c.Send(http.MethodPut, upload+"&digest="+blob.Digest.String(), content, "Content-Type: "+form).Expect(http.StatusCreated)
		c.Get(harness.BlobPath("app", blob.Digest)).Expect(http.StatusOK).ExpectBody(content)
	}
}

// Ranges of a blob are served, but not any number of them.
func TestVeryManyRanges(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	content := []byte(strings.Repeat("0123456789", 100_000))
	path := harness.BlobPath("app", c.PushBlob("app", content).Digest)
	for ranges, status := range map[int]int{
		1: http.StatusPartialContent, 100: http.StatusPartialContent, 101: http.StatusOK, 200_000: http.StatusOK,
	} {
		t.Run(fmt.Sprint(ranges), func(t *testing.T) {
			answer := c.For(t).Get(path, "Range: bytes="+strings.Repeat("0-0,", ranges-1)+"5-5").Expect(status)
			if status == http.StatusOK {
				answer.ExpectBody(content)
			}
		})
	}
}
