package online

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// client pushes, deletes and attaches to its own tags.
type client struct {
	*world
	name  string
	slots map[string]*image // by repository and tag
	dead  []*image
	count int
}

const (
	tags     = 3  // of each client in each repository
	attached = 3  // referrers of one image
	mourned  = 60 // dead images that a client remembers
)

// work works until stop is closed.
func (c *client) work(ctx context.Context, stop <-chan struct{}) error {
	c.slots = map[string]*image{}
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := c.act(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
}

// act does one of the things that clients do.
func (c *client) act(ctx context.Context) error {
	repository := repositories[rand.IntN(len(repositories))]
	tag := fmt.Sprintf("%s-%d", c.name, rand.IntN(tags))
	old := c.slots[repository+tag]
	switch dice := rand.IntN(100); {
	case dice < 25:
		return c.push(ctx, c.image(repository, c.gather.fresh), tag, false)
	case dice < 50:
		return c.push(ctx, c.image(repository, c.exhume), tag, true)
	case dice < 70:
		return c.revive(ctx, repository, tag, dice < 58)
	case dice < 78:
		return c.push(ctx, c.index(repository), tag, true)
	case old == nil:
		return nil
	case dice < 92 && len(old.past) < attached:
		return c.attach(ctx, old)
	case dice < 98:
		return c.delete(ctx, repository, tag, old)
	}
	return nil
}

// exhume is a blob that may be garbage, or a new one.
func (c *client) exhume(mediaType string) *blob {
	if b := c.gather.dig(c.forgotten()); b != nil {
		return b
	}
	return c.gather.fresh(mediaType)
}

// image makes an image of blobs, every fifth by its sha512 digest.
func (c *client) image(repository string, find func(mediaType string) *blob) *image {
	i := &image{repository: repository, blobs: []*blob{find(harness.MediaTypeOCIConfig)}}
	for range 1 + rand.IntN(2) {
		i.blobs = append(i.blobs, find(harness.MediaTypeOCILayer))
	}
	config, layers := i.blobs[0].desc, make([]harness.Descriptor, len(i.blobs)-1)
	config.MediaType = harness.MediaTypeOCIConfig
	for n, b := range i.blobs[1:] {
		layers[n] = b.desc
		layers[n].MediaType = harness.MediaTypeOCILayer
	}
	i.manifest = c.numbered(harness.OCIImage(config, layers...))
	return i
}

// numbered makes a manifest unique.
func (c *client) numbered(m harness.Manifest) harness.Manifest {
	c.count++
	if c.count%5 == 0 {
		m = m.By(digest.SHA512)
	}
	return m.Annotated("number", fmt.Sprint(c.name, " ", c.count))
}

// index makes an index of an image that may be garbage, and a new one. They have no tags.
func (c *client) index(repository string) *image {
	i := &image{repository: repository, children: []*image{c.image(repository, c.exhume)}}
	if dead := c.dig(repository); dead != nil && len(dead.children) == 0 {
		i.children = append(i.children, dead)
		c.forget(dead) // who deletes it breaks the index
	}
	list := make([]harness.Descriptor, len(i.children))
	for n, child := range i.children {
		list[n] = child.manifest.Descriptor()
	}
	i.manifest = c.numbered(harness.OCIIndex(list...))
	return i
}

// dig is one of the dead images in a repository, or nil.
func (c *client) dig(repository string) *image {
	for range 20 {
		if len(c.dead) == 0 {
			return nil
		}
		if i := c.dead[rand.IntN(len(c.dead))]; i.repository == repository && i.subject == nil {
			return i
		}
	}
	return nil
}

// push pushes an image under a tag, in place of what the tag is of, until that is
// acknowledged.
func (c *client) push(ctx context.Context, i *image, tag string, garbage bool) error {
	slot := i.repository + tag
	old := c.slots[slot]
	if old != nil && old != i {
		c.ledger.changing(old)
	}
	i.tag = tag
	if _, err := c.put(ctx, i, tag); err != nil {
		return err
	}
	c.ledger.acknowledged(i)
	c.slots[slot] = i
	if old != nil && old != i {
		c.bury(old)
	}
	c.forget(i)
	c.tally.count(func(t *counts) {
		t.pushes++
		if garbage {
			t.garbage++
		}
	})
	return nil
}

// bury remembers an image that no longer has a tag.
func (c *client) bury(i *image) {
	if c.dead = append(c.dead, i); len(c.dead) > mourned {
		c.dead = c.dead[1:]
	}
}

// forget forgets a dead image.
func (c *client) forget(i *image) {
	c.dead = slices.DeleteFunc(c.dead, func(d *image) bool { return d == i })
}

// revive gives a tag to an image that has lost its own. Before that, it may push a referrer
// of it.
func (c *client) revive(ctx context.Context, repository, tag string, attach bool) error {
	i := c.dig(repository)
	if i == nil {
		return nil
	}
	var a answer
	if attach = attach && len(i.past) < attached; attach {
		r := c.referrer(i)
		var err error
		if a, err = c.putReferrer(ctx, r); err != nil {
			return err
		}
		i.referrers = append(i.referrers, r)
	}
	if err := c.push(ctx, i, tag, true); err != nil {
		return err
	}
	var kept []*image
	for n, r := range i.referrers {
		got, err := c.ask(ctx, nil, get(r.repository, r.manifest.Digest().String()))
		switch {
		case err != nil:
			return err
		case got.Status == http.StatusOK: // with a subject that stays, it stays
			kept = append(kept, r)
		case attach && n == len(i.referrers)-1 && a.holds():
			return fmt.Errorf("a referrer was acknowledged, and then its subject; the referrer is gone: %w", got.Err())
		}
	}
	i.referrers = kept
	for _, r := range kept {
		c.ledger.acknowledged(r)
	}
	return nil
}

// referrer makes a referrer of an image.
func (c *client) referrer(subject *image) *image {
	r := c.image(subject.repository, c.exhume)
	if rand.IntN(2) == 0 {
		blob := r.blobs[0]
		r.blobs = r.blobs[:1]
		r.manifest = c.numbered(harness.ORASArtifact("test/oras", blob.desc))
	}
	r.subject = subject
	r.manifest = r.manifest.To(subject.manifest.Descriptor())
	return r
}

// attach pushes a referrer of an image that stays.
func (c *client) attach(ctx context.Context, to *image) error {
	r := c.referrer(to)
	if _, err := c.putReferrer(ctx, r); err != nil {
		return err
	}
	to.referrers = append(to.referrers, r)
	c.ledger.acknowledged(r)
	return nil
}

// delete deletes an image, by its digest or its tag.
func (c *client) delete(ctx context.Context, repository, tag string, i *image) error {
	reference := tag
	if rand.IntN(2) == 0 {
		reference = i.manifest.Digest().String()
	}
	c.ledger.changing(i)
	a, err := c.ask(ctx, nil, harness.Request{Method: http.MethodDelete, Path: harness.ManifestPath(repository, reference)})
	if err != nil {
		return err
	}
	if a.Status != http.StatusAccepted && !(a.again && a.Status == http.StatusNotFound) {
		return a.Err()
	}
	delete(c.slots, repository+tag)
	c.bury(i)
	c.tally.count(func(t *counts) { t.deletes++ })
	return nil
}
