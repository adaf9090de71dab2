package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Repository is one repository, served by one or more registries on one storage
// tree. Its methods may be called from many goroutines; they return an error for
// a broken connection and for a wrong answer.
type Repository struct {
	Name     string
	Clients  []*harness.Client
	Ledger   *Ledger
	Config   harness.Descriptor // a blob in the repository, for manifests
	Layer    harness.Descriptor // another one
	Subjects []harness.Descriptor

	number atomic.Int64
}

// NewRepository makes a repository with images for subjects, every other one pushed by
// its sha512 digest, and with a layer that is.
func NewRepository(name string, subjects int, clients ...*harness.Client) *Repository {
	r := &Repository{Name: name, Clients: clients, Ledger: NewLedger()}
	r.Config = clients[0].PushBlob(name, []byte(`{"architecture":"amd64","os":"linux"}`))
	r.Config.MediaType = harness.MediaTypeOCIConfig
	r.Layer = clients[0].PushBlobAs(name, []byte("layer"), digest.SHA512)
	r.Layer.MediaType = harness.MediaTypeOCILayer
	for i := range subjects {
		image := harness.OCIImage(r.Config, r.Layer).Annotated("image", fmt.Sprint(i))
		reference := fmt.Sprintf("v%d", i)
		if i%2 == 1 {
			image = image.By(digest.SHA512)
			reference = image.Digest().String() + "?tag=" + reference
		}
		r.Subjects = append(r.Subjects, clients[0].MustPush(name, reference, image))
	}
	return r
}

// Any is one of the clients.
func (r *Repository) Any() *harness.Client { return r.Clients[rand.IntN(len(r.Clients))] }

// Referrer makes a new manifest of one of the kinds that refer to a subject. Every
// fifth is pushed by its sha512 digest.
func (r *Repository) Referrer(subject harness.Descriptor) harness.Manifest {
	n := r.number.Add(1)
	var m harness.Manifest
	switch n % 4 {
	case 0:
		m = harness.OCIImage(r.Config, r.Layer).Typed("test/image")
	case 1:
		m = harness.ORASArtifact("test/oras", r.Layer)
	case 2:
		m = harness.OCIArtifact("test/artifact", r.Layer)
	case 3:
		m = harness.OCIIndex().Typed("test/index")
	}
	if n%5 == 0 {
		m = m.By(digest.SHA512)
	}
	return m.To(subject).Annotated("number", fmt.Sprint(n))
}

// Push pushes a manifest and records it in the Ledger.
func (r *Repository) Push(ctx context.Context, c *harness.Client, m harness.Manifest) error {
	r.Ledger.Pushing(m)
	if err := r.PushOnly(ctx, c, m); err != nil {
		return err
	}
	r.Ledger.Pushed(m.Digest())
	return nil
}

// PushOnly is Push without the Ledger.
func (r *Repository) PushOnly(ctx context.Context, c *harness.Client, m harness.Manifest) error {
	return r.PushTag(ctx, c, m.Digest().String(), m)
}

// PushTag pushes a manifest under a tag, without the Ledger.
func (r *Repository) PushTag(ctx context.Context, c *harness.Client, tag string, m harness.Manifest) error {
	resp, err := c.Do(ctx, harness.Request{
		Method: http.MethodPut, Path: harness.ManifestPath(r.Name, tag),
		Header: harness.Header("Content-Type: " + m.ContentType), Body: m.Bytes(),
	})
	return expect(resp, err, http.StatusCreated)
}

// Delete deletes a manifest and records that in the Ledger.
func (r *Repository) Delete(ctx context.Context, c *harness.Client, d digest.Digest) error {
	r.Ledger.Deleting(d)
	if err := r.DeleteOnly(ctx, c, d, http.StatusAccepted); err != nil {
		return err
	}
	r.Ledger.Deleted(d)
	return nil
}

// DeleteAgain is Delete for a manifest that may already be gone.
func (r *Repository) DeleteAgain(ctx context.Context, c *harness.Client, d digest.Digest) error {
	r.Ledger.Deleting(d)
	if err := r.DeleteOnly(ctx, c, d, http.StatusAccepted, http.StatusNotFound); err != nil {
		return err
	}
	r.Ledger.Deleted(d)
	return nil
}

// DeleteOnly deletes a manifest, expecting one of the statuses, without the
// Ledger.
func (r *Repository) DeleteOnly(ctx context.Context, c *harness.Client, d digest.Digest, statuses ...int) error {
	resp, err := c.Do(ctx, harness.Request{Method: http.MethodDelete, Path: harness.ManifestPath(r.Name, d.String())})
	return expect(resp, err, statuses...)
}

// Get gets a manifest and reports whether it exists. If so, it checks the bytes.
func (r *Repository) Get(ctx context.Context, c *harness.Client, d digest.Digest) (there bool, err error) {
	resp, err := c.Do(ctx, harness.Request{
		Method: http.MethodGet, Path: harness.ManifestPath(r.Name, d.String()), Header: harness.Header(harness.AcceptAll),
	})
	if err := expect(resp, err, http.StatusOK, http.StatusNotFound); err != nil {
		return false, err
	}
	if got := d.Algorithm().FromBytes(resp.Body); resp.Status == http.StatusOK && got != d {
		return true, fmt.Errorf("the bytes of %s have the digest %s", d, got)
	}
	return resp.Status == http.StatusOK, nil
}

// List lists the referrers of a subject, its pages from the clients in turn, and
// has the Ledger check the answer. Without clients, they are all those of the
// repository, in any order. The registry decides on the size of pages if it is 0.
func (r *Repository) List(ctx context.Context, route harness.Route, subject digest.Digest, pageSize int, clients ...*harness.Client) ([]harness.Descriptor, error) {
	asked := r.Ledger.Now()
	all, err := r.Ask(ctx, route, subject, pageSize, clients...)
	if err != nil {
		return all, err
	}
	return all, r.Ledger.Check(route, subject, asked, all)
}

// Ask is List without the Ledger.
func (r *Repository) Ask(ctx context.Context, route harness.Route, subject digest.Digest, pageSize int, clients ...*harness.Client) ([]harness.Descriptor, error) {
	if len(clients) == 0 {
		clients = slices.Clone(r.Clients)
		rand.Shuffle(len(clients), func(i, j int) { clients[i], clients[j] = clients[j], clients[i] })
	}
	path := route.Path(r.Name, subject)
	if pageSize > 0 {
		path = route.With(r.Name, subject, "n", fmt.Sprint(pageSize))
	}
	var all []harness.Descriptor
	for pages := 0; path != ""; pages++ {
		resp, err := clients[pages%len(clients)].Do(ctx, harness.Request{Method: http.MethodGet, Path: path})
		if err := expect(resp, err, http.StatusOK); err != nil {
			return all, err
		}
		var page struct{ References, Referrers, Manifests []harness.Descriptor }
		if err := json.Unmarshal(resp.Body, &page); err != nil {
			return all, fmt.Errorf("%w: %s", err, resp)
		}
		all = append(append(append(all, page.References...), page.Referrers...), page.Manifests...)
		if path, err = next(resp); err != nil {
			return all, err
		}
	}
	return all, nil
}

// next is the path of the next page, "" if there is none.
func next(resp *harness.Response) (string, error) {
	link := resp.Header.Get("Link")
	if link == "" {
		return "", nil
	}
	var target string
	if _, err := fmt.Sscanf(link, "<%s rel=\"next\"", &target); err != nil || len(target) < 3 {
		return "", fmt.Errorf("the Link %q: %w", link, errors.Join(err, errors.New("is not that of a next page")))
	}
	u, err := url.Parse(target[:len(target)-2])
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// expect returns an error unless the answer has one of the statuses.
func expect(resp *harness.Response, err error, statuses ...int) error {
	if err != nil {
		return err
	}
	for _, s := range statuses {
		if resp.Status == s {
			return nil
		}
	}
	return fmt.Errorf("expected %v: %w", statuses, resp.Err())
}
