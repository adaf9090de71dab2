package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Client talks to a registry over HTTP. It follows no redirects, sends no Accept
// header unless told, and never asks for compression. The fields may be changed
// on a copy; the methods may be called from many goroutines.
type Client struct {
	// URL is the registry's, with http.prefix, without a slash at the end.
	URL string
	// Authorization is sent with every request, unless it is empty.
	Authorization string
	// HTTP is what sends the requests.
	HTTP *http.Client

	t testing.TB
}

// NewClient makes a client of the registry at a URL.
func NewClient(t testing.TB, url string) *Client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{t: t, URL: url, HTTP: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Trusting is the client with another root certificate, as PEM, for TLS.
func (c *Client) Trusting(certificate []byte) *Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	trusting := NewClient(c.t, c.URL)
	trusting.HTTP.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return trusting
}

// With is the client with another Authorization header.
func (c *Client) With(authorization string) *Client {
	other := *c
	other.Authorization = authorization
	return &other
}

// For is the client for another test, such as a subtest.
func (c *Client) For(t testing.TB) *Client {
	other := *c
	other.t = t
	return &other
}

// Request is one HTTP request. Path begins with a slash and is below the
// client's URL, unless it is an absolute URL.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
	// Reader is sent instead of Body where it is not nil.
	Reader io.Reader
}

// Do sends a request and reads the answer. It returns only connection errors.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	target := r.Path
	if !strings.Contains(target, "://") {
		target = c.URL + r.Path
	}
	body := r.Reader
	if body == nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, err
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if c.Authorization != "" {
		req.Header.Set("Authorization", c.Authorization)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &Response{Request: r, Status: resp.StatusCode, Header: resp.Header, Body: content, t: c.t}, nil
}

// Send sends a request with header lines "Name: value". The test ends if the
// connection breaks.
func (c *Client) Send(method, path string, body []byte, headers ...string) *Response {
	c.t.Helper()
	resp, err := c.Do(context.Background(), Request{Method: method, Path: path, Header: Header(headers...), Body: body})
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// Header makes headers from lines "Name: value".
func Header(lines ...string) http.Header {
	header := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		header.Add(name, strings.TrimSpace(value))
	}
	return header
}

// Get sends GET.
func (c *Client) Get(path string, headers ...string) *Response {
	c.t.Helper()
	return c.Send(http.MethodGet, path, nil, headers...)
}

// Head sends HEAD.
func (c *Client) Head(path string, headers ...string) *Response {
	c.t.Helper()
	return c.Send(http.MethodHead, path, nil, headers...)
}

// Delete sends DELETE.
func (c *Client) Delete(path string, headers ...string) *Response {
	c.t.Helper()
	return c.Send(http.MethodDelete, path, nil, headers...)
}

// ManifestPath is the path of a manifest.
func ManifestPath(repository, reference string) string {
	return "/v2/" + repository + "/manifests/" + reference
}

// BlobPath is the path of a blob.
func BlobPath(repository string, d digest.Digest) string {
	return "/v2/" + repository + "/blobs/" + d.String()
}

// AcceptAll is an Accept header with every kind of manifest.
const AcceptAll = "Accept: " + MediaTypeDockerManifest + "," + MediaTypeDockerList + "," + MediaTypeOCIImage + "," +
	MediaTypeOCIIndex + "," + MediaTypeORASArtifact + "," + MediaTypeOCIArtifact

// GetManifest gets a manifest of any kind.
func (c *Client) GetManifest(repository, reference string) *Response {
	c.t.Helper()
	return c.Get(ManifestPath(repository, reference), AcceptAll)
}

// DeleteManifest deletes a manifest and expects that to work.
func (c *Client) DeleteManifest(repository string, d digest.Digest) {
	c.t.Helper()
	c.Delete(ManifestPath(repository, d.String())).Expect(http.StatusAccepted)
}

// PutManifest pushes bytes as a manifest.
func (c *Client) PutManifest(repository, reference, mediaType string, content []byte) *Response {
	c.t.Helper()
	return c.Send(http.MethodPut, ManifestPath(repository, reference), content, "Content-Type: "+mediaType)
}

// Push pushes a manifest, by digest if the reference is empty, and returns the answer.
func (c *Client) Push(repository, reference string, m Manifest) *Response {
	c.t.Helper()
	if reference == "" {
		reference = m.Digest().String()
	}
	return c.PutManifest(repository, reference, m.ContentType, m.Bytes())
}

// MustPush pushes a manifest, expects that to work, and returns its descriptor.
func (c *Client) MustPush(repository, reference string, m Manifest) Descriptor {
	c.t.Helper()
	c.Push(repository, reference, m).Expect(http.StatusCreated)
	return m.Descriptor()
}

// PushBlob pushes a blob in one piece, and expects that to work.
func (c *Client) PushBlob(repository string, content []byte) Descriptor {
	c.t.Helper()
	d, err := c.TryPushBlob(context.Background(), repository, content)
	if err != nil {
		c.t.Fatalf("pushing a blob to %s: %v", repository, err)
	}
	return d
}

// PushBlobAs is PushBlob under a digest of another algorithm.
func (c *Client) PushBlobAs(repository string, content []byte, algorithm digest.Algorithm) Descriptor {
	c.t.Helper()
	desc := BlobDescriptor(content)
	desc.Digest = algorithm.FromBytes(content)
	if err := c.upload(context.Background(), repository, content, desc.Digest); err != nil {
		c.t.Fatalf("pushing a blob to %s: %v", repository, err)
	}
	return desc
}

// TryPushBlob is PushBlob for a registry that may be gone.
func (c *Client) TryPushBlob(ctx context.Context, repository string, content []byte) (Descriptor, error) {
	desc := BlobDescriptor(content)
	return desc, c.upload(ctx, repository, content, desc.Digest)
}

// LeaveUpload begins an upload and leaves it. The S3 gateway of the tests keeps objects as
// files and removes folders that are empty; while it removes the one of a repository's
// uploads, it cannot begin another one there.
func (c *Client) LeaveUpload(repository string) {
	c.t.Helper()
	c.Send(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil).Expect(http.StatusAccepted)
}

// upload pushes a blob with two requests.
func (c *Client) upload(ctx context.Context, repository string, content []byte, d digest.Digest) error {
	started, err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/v2/" + repository + "/blobs/uploads/"})
	if err != nil {
		return err
	}
	if started.Status != http.StatusAccepted {
		return started.Err()
	}
	location, err := url.Parse(started.Header.Get("Location"))
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", d.String())
	location.RawQuery = query.Encode()
	finished, err := c.Do(ctx, Request{
		Method: http.MethodPut, Path: location.String(), Body: content,
		Header: Header("Content-Type: application/octet-stream"),
	})
	if err != nil {
		return err
	}
	if finished.Status != http.StatusCreated {
		return finished.Err()
	}
	return nil
}

// PushImage pushes an OCI image made from text, with its blobs, by digest where
// the reference is empty.
func (c *Client) PushImage(repository, reference, text string) Descriptor {
	c.t.Helper()
	config := c.PushBlob(repository, []byte(`{"architecture":"amd64","os":"linux"}`))
	config.MediaType = MediaTypeOCIConfig
	layer := c.PushBlob(repository, []byte(text))
	layer.MediaType = MediaTypeOCILayer
	return c.MustPush(repository, reference, OCIImage(config, layer))
}

// Tags are the tags of a repository, sorted.
func (c *Client) Tags(repository string) []string {
	c.t.Helper()
	var list struct{ Tags []string }
	resp := c.Get("/v2/" + repository + "/tags/list")
	if resp.Status == http.StatusNotFound {
		return nil
	}
	resp.Expect(http.StatusOK).JSON(&list)
	slices.Sort(list.Tags)
	return list.Tags
}

// mustMarshal marshals values for which that cannot fail.
func mustMarshal(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}
