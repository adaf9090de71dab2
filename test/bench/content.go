package main

import (
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// repository is one to push to and pull from, over HTTP alone.
type repository struct {
	name   string
	nonce  string // makes the content of this run its own
	config harness.Descriptor
	number atomic.Int64
}

// newRepository makes a repository by pushing a config to it.
func newRepository(c *conn, name string) (*repository, error) {
	r := &repository{name: name, nonce: time.Now().UTC().Format(time.RFC3339Nano)}
	var err error
	r.config, err = r.pushBlob(c, []byte("{}"))
	r.config.MediaType = harness.MediaTypeOCIConfig
	return r, err
}

func (r *repository) path(rest string) string { return "/v2/" + r.name + "/" + rest }

// pushBlob uploads a blob as most clients do: a POST, and a PUT with the bytes.
func (r *repository) pushBlob(c *conn, content []byte) (harness.Descriptor, error) {
	d := harness.BlobDescriptor(content)
	header, _, err := c.do(request{method: http.MethodPost, path: r.path("blobs/uploads/"), status: http.StatusAccepted})
	if err != nil {
		return d, err
	}
	location, err := url.Parse(header.Get("Location"))
	if err != nil {
		return d, err
	}
	query := location.Query()
	query.Set("digest", d.Digest.String())
	location.RawQuery = query.Encode()
	_, _, err = c.do(request{
		method: http.MethodPut, path: location.String(), header: "Content-Type: application/octet-stream\r\n",
		content: content, status: http.StatusCreated,
	})
	return d, err
}

// push pushes a manifest.
func (r *repository) push(c *conn, m harness.Manifest) (harness.Descriptor, error) {
	d, content := m.Descriptor(), m.Bytes()
	_, _, err := c.do(request{
		method: http.MethodPut, path: r.path("manifests/" + d.Digest.String()), header: "Content-Type: " + m.ContentType + "\r\n",
		content: content, status: http.StatusCreated,
	})
	return d, err
}

// image is a manifest that nobody has pushed before.
func (r *repository) image(layers ...harness.Descriptor) harness.Manifest {
	return harness.OCIImage(r.config, layers...).Annotated("org.example.number", fmt.Sprint(r.nonce, "-", r.number.Add(1)))
}

// referrer is a new manifest that refers to subject, as a signing client writes it.
func (r *repository) referrer(subject harness.Descriptor) harness.Manifest {
	return r.image(r.config).Typed("application/vnd.example.signature.v1+json").To(subject).
		Annotated(harness.OCICreated, time.Now().UTC().Format(time.RFC3339))
}

// subject pushes an image with n referrers.
func (r *repository) subject(clients []*conn, n int) (harness.Descriptor, error) {
	subject, err := r.push(clients[0], r.image())
	if err != nil {
		return subject, err
	}
	return subject, together(clients, n, func(c *conn) error {
		_, err := r.push(c, r.referrer(subject))
		return err
	})
}

// listing is the path of a subject's listing.
func (r *repository) listing(subject harness.Descriptor) string {
	return r.path("referrers/" + subject.Digest.String())
}

// pushed is an image with one layer.
type pushed struct{ manifest, config, layer harness.Descriptor }

// pushSignature pushes a signature as a client does: its blob, and then its manifest.
func (r *repository) pushSignature(c *conn, subject harness.Descriptor) error {
	blob, err := r.pushBlob(c, []byte(fmt.Sprint(r.nonce, "-", r.number.Add(1))))
	if err != nil {
		return err
	}
	blob.MediaType = "application/vnd.example.signature.v1+json"
	_, err = r.push(c, r.image(blob).Typed(blob.MediaType).To(subject))
	return err
}

// pushImage pushes an image with a new layer of 64 KiB, as a client does: the layer, a
// question for the config, which is there, and the manifest.
func (r *repository) pushImage(c *conn) (image pushed, err error) {
	content := make([]byte, 64<<10)
	copy(content, fmt.Sprint(r.nonce, "-", r.number.Add(1)))
	image.config = r.config
	if image.layer, err = r.pushBlob(c, content); err != nil {
		return image, err
	}
	image.layer.MediaType = harness.MediaTypeOCILayer
	head := request{method: http.MethodHead, path: r.path("blobs/" + r.config.Digest.String()), status: http.StatusOK}
	if _, _, err := c.do(head); err != nil {
		return image, err
	}
	image.manifest, err = r.push(c, r.image(image.layer))
	return image, err
}

// pullImage pulls the manifest of an image, its config and its layer.
func (r *repository) pullImage(c *conn, image pushed) error {
	for _, rest := range []string{
		"manifests/" + image.manifest.Digest.String(), "blobs/" + image.config.Digest.String(), "blobs/" + image.layer.Digest.String(),
	} {
		if _, _, err := c.do(request{
			method: http.MethodGet, path: r.path(rest), header: "Accept: " + harness.MediaTypeOCIImage + "\r\n", status: http.StatusOK,
		}); err != nil {
			return err
		}
	}
	return nil
}
