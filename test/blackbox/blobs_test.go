package blackbox_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// uploads are the ways to push a blob. Each returns the last answer.
var uploads = map[string]func(c *harness.Client, repository string, content []byte, d digest.Digest) *harness.Response{
	"one piece": func(c *harness.Client, repository string, content []byte, d digest.Digest) *harness.Response {
		return c.Send(http.MethodPut, startUpload(c, repository)+"&digest="+d.String(), content, "Content-Type: application/octet-stream")
	},
	"stream": func(c *harness.Client, repository string, content []byte, d digest.Digest) *harness.Response {
		location := patch(c, startUpload(c, repository), content)
		return c.Send(http.MethodPut, location+"&digest="+d.String(), nil)
	},
	"chunks": func(c *harness.Client, repository string, content []byte, d digest.Digest) *harness.Response {
		half := len(content) / 2
		location := startUpload(c, repository)
		if half > 0 {
			location = patch(c, location, content[:half], fmt.Sprintf("Content-Range: 0-%d", half-1))
		}
		return c.Send(http.MethodPut, location+"&digest="+d.String(), content[half:], "Content-Type: application/octet-stream")
	},
}

func startUpload(c *harness.Client, repository string) string {
	return c.Send(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil).Expect(http.StatusAccepted).Header.Get("Location")
}

func patch(c *harness.Client, location string, content []byte, headers ...string) string {
	headers = append(headers, "Content-Type: application/octet-stream")
	return c.Send(http.MethodPatch, location, content, headers...).Expect(http.StatusAccepted).Header.Get("Location")
}

// A blob that is pushed by a digest of any algorithm is served by that digest, and by
// its sha256 digest too.
func TestBlobsOfEveryAlgorithm(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
			for way, upload := range uploads {
				for _, text := range []string{"", "{}", "a blob that is pushed in " + way} {
					t.Run(fmt.Sprintf("%s in %s, %d bytes", algorithm, way, len(text)), func(t *testing.T) {
						c := c.For(t)
						content, repository := []byte(text), "some/"+algorithm.String()
						d := algorithm.FromBytes(content)
						pushed := upload(c, repository, content, d).Expect(http.StatusCreated)
						pushed.ExpectHeader("Docker-Content-Digest", d.String())
						pushed.ExpectHeader("Location", c.URL+harness.BlobPath(repository, d))
						expectBlob(c, repository, d, content)
						expectBlob(c, repository, digest.FromBytes(content), content)
					})
				}
			}
		}
		wrong := digest.SHA512.FromString("something else")
		for _, upload := range uploads {
			upload(c, "some/app", []byte("wrong"), wrong).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		}
		c.Get(harness.BlobPath("some/app", wrong)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN").ExpectNoHeader("Docker-Content-Digest")
	})
}

// expectBlob expects a blob to be served by a digest, with what belongs to it.
func expectBlob(c *harness.Client, repository string, d digest.Digest, content []byte) {
	path := harness.BlobPath(repository, d)
	got := c.Get(path).Expect(http.StatusOK).ExpectBody(content).ExpectHeader("Docker-Content-Digest", d.String())
	for _, name := range []string{"Content-Length", "Content-Type", "Etag", "Cache-Control", "Accept-Ranges"} {
		c.Head(path).Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", d.String()).ExpectHeader(name, got.Header.Get(name))
	}
	c.Get(path, "If-None-Match: "+got.Header.Get("Etag")).Expect(http.StatusNotModified)
	c.Head(path, "If-None-Match: "+got.Header.Get("Etag")).Expect(http.StatusNotModified)
	if len(content) > 2 {
		part := c.Get(path, "Range: bytes=1-2").Expect(http.StatusPartialContent)
		part.ExpectBody(content[1:3]).ExpectHeader("Docker-Content-Digest", d.String())
		c.Get(path, fmt.Sprintf("Range: bytes=%d-", len(content))).Expect(http.StatusRequestedRangeNotSatisfiable)
	}
}

// Each name of a blob is deleted by itself.
func TestBlobsAreDeletedByEachName(t *testing.T) {
	configured(t, "storage: {cache: {blobdescriptor: inmemory}}", func(t *testing.T, r *harness.Registry) {
		c, content := r.Client(), []byte("a blob")
		names := []digest.Digest{digest.SHA256.FromBytes(content), digest.SHA384.FromBytes(content), digest.SHA512.FromBytes(content)}
		for i, gone := range names {
			for _, name := range names {
				c.PushBlobAs("app", content, name.Algorithm())
			}
			expectBlob(c, "app", names[(i+1)%3], content)
			c.Delete(harness.BlobPath("app", gone)).Expect(http.StatusAccepted)
			c.Delete(harness.BlobPath("app", gone)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN")
			c.Get(harness.BlobPath("app", gone)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN")
			expectBlob(c, "app", names[(i+1)%3], content)
			expectBlob(c, "app", names[(i+2)%3], content)
		}
	})
}

// A blob is mounted by any of its names, also by one that is the last.
func TestBlobsAreMountedByEachName(t *testing.T) {
	configured(t, "", func(t *testing.T, r *harness.Registry) {
		c, content := r.Client(), []byte("a blob")
		d := c.PushBlobAs("from", content, digest.SHA512).Digest
		mount := func(to string, d digest.Digest) *harness.Response {
			return c.Send(http.MethodPost, "/v2/"+to+"/blobs/uploads/?from=from&mount="+d.String(), nil)
		}
		for i, name := range []digest.Digest{d, digest.FromBytes(content)} {
			to := fmt.Sprintf("to/%d", i)
			mounted := mount(to, name).Expect(http.StatusCreated)
			mounted.ExpectHeader("Docker-Content-Digest", name.String()).ExpectHeader("Location", c.URL+harness.BlobPath(to, name))
			expectBlob(c, to, name, content)
		}
		c.Get(harness.BlobPath("to/1", d)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN")
		c.Delete(harness.BlobPath("from", digest.FromBytes(content))).Expect(http.StatusAccepted)
		mount("to/2", d).Expect(http.StatusCreated)
		expectBlob(c, "to/2", d, content)
		// What is not there has to be uploaded.
		absent := mount("to/3", digest.SHA512.FromString("absent")).Expect(http.StatusAccepted).ExpectNoHeader("Docker-Content-Digest")
		c.Send(http.MethodPut, absent.Header.Get("Location")+"&digest="+d.String(), content).Expect(http.StatusCreated)
	})
}

// redirected is a configuration that redirects pulls to the storage.
const redirected = "{storage: {redirect: {disable: false}}, middleware: {storage: [{name: redirect, options: {baseurl: 'https://storage.example/'}}]}}"

// Where pulls are redirected to the storage, HEAD is still answered by the registry, whose
// headers the storage would not have.
func TestHeadIsNotRedirected(t *testing.T) {
	configured(t, redirected, func(t *testing.T, r *harness.Registry) {
		c, content := r.Client(), []byte("a blob")
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			d := c.PushBlobAs("app", content, algorithm).Digest
			head := c.Head(harness.BlobPath("app", d)).Expect(http.StatusOK)
			head.ExpectHeader("Docker-Content-Digest", d.String()).ExpectHeader("Content-Length", fmt.Sprint(len(content)))
			c.Get(harness.BlobPath("app", d)).Expect(http.StatusTemporaryRedirect)
		}
	})
}
