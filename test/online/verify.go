package online

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// verifyUntil pulls what has to be there, each time from another registry, until stop is
// closed.
func (w *world) verifyUntil(ctx context.Context, stop <-chan struct{}) error {
	for {
		for _, d := range w.ledger.all() {
			select {
			case <-stop:
				return nil
			default:
			}
			if err := w.verify(ctx, w.any(), d); err != nil {
				return err
			}
		}
		if err := pause(ctx, backOff); err != nil {
			return err
		}
	}
}

// verifyAll pulls all that has to be there, from each of some registries.
func (w *world) verifyAll(ctx context.Context, from ...*node) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, d := range w.ledger.all() {
		for _, n := range from {
			group.Go(func() error { return w.verify(ctx, n, d) })
		}
	}
	return group.Wait()
}

// verify pulls an image, with all that it needs, and looks for a referrer in the list of its
// subject. It is no error if the image is deleted meanwhile.
func (w *world) verify(ctx context.Context, at *node, d due) error {
	err := w.pull(ctx, at, d.image)
	if err == nil && d.subject != nil {
		err = w.listed(ctx, at, d.image)
	}
	if err == nil && d.tag != "" {
		err = w.pulled(ctx, at, d.repository, d.tag, d.manifest.Digest(), "manifests")
	}
	if !w.ledger.still(d) || ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("an image that was acknowledged cannot be pulled: %w; a moment later, and from others: %v", err, w.again(ctx, d))
	}
	w.tally.count(func(c *counts) { c.pulls++ })
	return nil
}

// again is what the registries say about an image that one of them does not have.
func (w *world) again(ctx context.Context, d due) (errs []error) {
	for _, n := range w.nodes {
		errs = append(errs, w.pull(ctx, n, d.image))
	}
	return errs
}

func (w *world) pull(ctx context.Context, at *node, i *image) error {
	if err := w.pulled(ctx, at, i.repository, i.manifest.Digest().String(), i.manifest.Digest(), "manifests"); err != nil {
		return err
	}
	for _, child := range i.children {
		if err := w.pull(ctx, at, child); err != nil {
			return err
		}
	}
	for _, b := range i.blobs {
		if err := w.pulled(ctx, at, i.repository, b.desc.Digest.String(), b.desc.Digest, "blobs"); err != nil {
			return err
		}
	}
	return nil
}

// pulled gets a manifest or blob, which has to be there.
func (w *world) pulled(ctx context.Context, at *node, repository, reference string, d digest.Digest, what string) error {
	request := get(repository, reference)
	request.Path = "/v2/" + repository + "/" + what + "/" + reference
	a, err := w.ask(ctx, at, request)
	switch {
	case err != nil:
		return err
	case a.Status != http.StatusOK:
		return a.Err()
	case d.Algorithm().FromBytes(a.Body) != d:
		return fmt.Errorf("%s has other bytes: %w", d, a.Err())
	}
	return nil
}

// listed looks for a referrer in all pages of the list of its subject.
func (w *world) listed(ctx context.Context, at *node, r *image) error {
	subject, d := r.subject.manifest.Digest(), r.manifest.Digest()
	path := harness.OCI.Path(r.repository, subject)
	if rand.IntN(2) == 0 {
		path = harness.OCI.With(r.repository, subject, "n", "2")
	}
	for path != "" {
		a, err := w.ask(ctx, at, harness.Request{Method: http.MethodGet, Path: path})
		if err != nil {
			return err
		}
		var page struct{ Manifests []harness.Descriptor }
		if err := json.Unmarshal(a.Body, &page); err != nil || a.Status != http.StatusOK {
			return errors.Join(err, a.Err())
		}
		if slices.ContainsFunc(page.Manifests, func(l harness.Descriptor) bool { return l.Digest == d }) {
			return nil
		}
		if path, err = next(a.Response); err != nil {
			return err
		}
	}
	return fmt.Errorf("referrer %s of %s is not listed", d, subject)
}

// next is the path of the next page, empty if there is none.
func next(r *harness.Response) (string, error) {
	link := r.Header.Get("Link")
	if link == "" {
		return "", nil
	}
	var target string
	if _, err := fmt.Sscanf(link, "<%s rel=\"next\"", &target); err != nil || len(target) < 3 {
		return "", fmt.Errorf("the Link %q", link)
	}
	u, err := url.Parse(target[:len(target)-2])
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// expectGone expects that of all blobs that were pushed only those are left that an image
// needs, or a referrer that may have outlived a time in which its subject had no tag.
func (w *world) expectGone() {
	needed := map[digest.Digest]bool{}
	var need func(i *image)
	need = func(i *image) {
		for _, b := range i.blobs {
			needed[digest.FromBytes(b.data)] = true
		}
		for _, other := range slices.Concat(i.children, i.past) {
			need(other)
		}
	}
	for _, d := range w.ledger.all() {
		need(d.image)
	}
	for _, b := range w.gather.blobs {
		if needed[digest.FromBytes(b.data)] {
			continue
		}
		for repository := range b.holds {
			a, err := w.ask(w.t.Context(), nil, harness.Request{Method: http.MethodHead, Path: harness.BlobPath(repository, b.desc.Digest)})
			if err != nil {
				w.t.Fatal(err)
			}
			if a.Status != http.StatusNotFound {
				w.t.Errorf("nothing needs it, and it is left: %s", a)
			}
		}
	}
}
