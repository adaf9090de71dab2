package blackbox_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// post uploads a blob in a single request.
func post(c *harness.Client, prefix string, d digest.Digest, content []byte) *harness.Response {
	return c.Send(http.MethodPost, prefix+"/v2/app/blobs/uploads/?digest="+d.String(), content, "Content-Type: application/octet-stream")
}

// A blob can be uploaded in a single POST, below any prefix, and is there on all replicas.
func TestUploadsInOneRequest(t *testing.T) {
	a, b := replicas(t)
	prefixed := harness.Start(t, harness.Options{Config: "http: {prefix: /a/prefix/}"}).Client()
	public := harness.Start(t, harness.Options{Config: "http: {host: 'https://registry.example/public'}"}).Client()
	for _, content := range []string{"", "content", strings.Repeat("content", 1_000_000)} {
		for _, d := range []digest.Digest{digest.FromString(content), digest.SHA512.FromString(content)} {
			answer := post(a, "", d, []byte(content)).Expect(http.StatusCreated).ExpectHeader("Docker-Content-Digest", d.String())
			b.Get(answer.Header.Get("Location")).Expect(http.StatusOK).ExpectBody([]byte(content))
			answer = post(prefixed, "/a/prefix", d, []byte(content)).Expect(http.StatusCreated)
			prefixed.Get(answer.Header.Get("Location")).Expect(http.StatusOK).ExpectBody([]byte(content))
			post(public, "", d, []byte(content)).Expect(http.StatusCreated)
			public.Get(harness.BlobPath("app", d)).Expect(http.StatusOK).ExpectBody([]byte(content))
		}
	}
}

// Such an upload that fails stores nothing, and one without a body only begins.
func TestUploadsInOneRequestThatFail(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	d := digest.FromString("content")
	post(c, "", d, []byte("other content")).ExpectError(http.StatusBadRequest, "DIGEST_INVALID").ExpectNoHeader("Location")
	for _, bad := range []digest.Digest{"", "sha256:", "sha256:aa", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		post(c, "", bad, []byte("content")).ExpectError(http.StatusBadRequest, "DIGEST_INVALID").ExpectNoHeader("Docker-Upload-UUID")
	}
	c.Get(harness.BlobPath("app", d)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN")
	begun := post(c, "", d, nil).Expect(http.StatusAccepted)
	c.Send(http.MethodPut, begun.Header.Get("Location")+"&digest="+d.String(), []byte("content")).Expect(http.StatusCreated)
	// A mount is a mount, whatever else is asked for.
	c.Send(http.MethodPost, "/v2/other/blobs/uploads/?digest="+d.String()+"&from=app&mount="+d.String(), []byte("x")).Expect(http.StatusCreated)
	c.Get(harness.BlobPath("other", d)).Expect(http.StatusOK).ExpectBody([]byte("content"))
	// A failed upload can be sent again.
	post(c, "", digest.FromString("other content"), []byte("other content")).Expect(http.StatusCreated)
	readOnly := harness.Start(t, harness.Options{Config: "storage: {maintenance: {readonly: {enabled: true}}}"}).Client()
	post(readOnly, "", d, []byte("content")).Expect(http.StatusMethodNotAllowed)
}
