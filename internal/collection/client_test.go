//go:build !race

package collection_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/collection"
)

// clientPrefix begins the names of clients.
const clientPrefix = "client"

// client pushes one thing after the other, as clients do: it asks for what is there, and
// uploads what is not.
type client struct {
	w    *world
	name string
	rng  *rand.Rand
	p    *process
}

// run lets a client do so much.
func (c *client) run() {
	for n := range 1 + c.rng.IntN(3) {
		c.waitForTurn()
		tag := fmt.Sprintf("%s-%d", c.name, n)
		switch actions := 5; {
		case !c.w.untagged || c.rng.IntN(actions) < 2:
			c.pushAndDelete(tag)
		case c.rng.IntN(3) == 0:
			c.retag(tag)
		case c.rng.IntN(2) == 0:
			c.pushIndex(tag)
		default:
			c.attach(tag)
		}
	}
}

// waitForTurn waits until the collectors have come to some point.
func (c *client) waitForTurn() {
	limit := c.w.s.now() + time.Duration(c.rng.Float64()*float64(20*pace))
	c.w.s.await(c.name, c.w.s.point(c.rng), limit)
}

// process is the one that the client talks to, another one if that is dead.
func (c *client) process() *process {
	for c.p == nil || c.p.isOver() && !c.w.s.isAborted() {
		c.w.mu.Lock()
		n := len(c.w.processes)
		c.p = c.w.processes[max(c.rng.IntN(n), c.rng.IntN(n))]
		c.w.mu.Unlock()
		if c.p.isOver() {
			time.Sleep(pace / 7)
		}
	}
	return c.p
}

var errGivenUp = errors.New("it was sent often enough")

// ask sends a request again and again, while it is worth while. The promise is that of the
// replica that has answered.
func (c *client) ask(section func(*collection.Replica) *collection.Section, do func(context.Context, *process) error) (*promise, error) {
	for range 20 {
		if c.w.s.isAborted() {
			break
		}
		p := c.process()
		promise := p.promise(c.w.s.now())
		err := p.request(c.name, section(p.replica), func(ctx context.Context) error { return do(ctx, p) })
		switch {
		case !isTemporary(err):
			return promise, err
		case c.rng.IntN(4) == 0:
			c.p = nil
		}
		time.Sleep(time.Duration((0.01 + c.rng.Float64()) * float64(pace)))
	}
	return nil, errGivenUp
}

// hasBlob is a HEAD of a blob.
func (c *client) hasBlob(repository string, o *object) (there bool, p *promise, err error) {
	p, err = c.ask((*collection.Replica).Pull, func(ctx context.Context, p *process) error {
		r, err := repositoryOf(ctx, p.namespace, repository)
		if err != nil {
			return err
		}
		_, err = r.Blobs(ctx).Stat(ctx, o.digest)
		there = err == nil
		if errors.Is(err, distribution.ErrBlobUnknown) {
			err = nil
		}
		return err
	})
	return there, p, err
}

// hasManifest is a GET of a manifest.
func (c *client) hasManifest(repository string, o *object) (there bool, p *promise, err error) {
	p, err = c.ask((*collection.Replica).Pull, func(ctx context.Context, p *process) error {
		r, err := repositoryOf(ctx, p.namespace, repository)
		if err != nil {
			return err
		}
		manifests, err := r.Manifests(ctx)
		if err != nil {
			return err
		}
		_, err = manifests.Get(ctx, o.digest)
		there = err == nil
		if errors.As(err, new(distribution.ErrManifestUnknownRevision)) {
			err = nil
		}
		return err
	})
	return there, p, err
}

// upload uploads a blob, or mounts it.
func (c *client) upload(repository string, o *object) (*promise, error) {
	mount := c.rng.IntN(3) == 0
	return c.ask((*collection.Replica).Section, func(ctx context.Context, p *process) error {
		r, err := repositoryOf(ctx, p.namespace, repository)
		if err != nil || !mount {
			if err == nil {
				err = upload(ctx, r, o)
			}
			return err
		}
		from, err := reference.WithName(map[string]string{app: other, other: app}[repository])
		if err != nil {
			return err
		}
		canonical, err := reference.WithDigest(from, o.digest)
		if err != nil {
			return err
		}
		w, err := r.Blobs(ctx).Create(ctx, storage.WithMountFrom(canonical))
		switch {
		case errors.As(err, new(distribution.ErrBlobMounted)):
			return nil
		case err != nil:
			return err
		}
		return finish(ctx, w, o)
	})
}

// offer makes sure that a repository has a blob.
func (c *client) offer(repository string, o *object) (*promise, error) {
	if c.rng.IntN(4) > 0 {
		there, promise, err := c.hasBlob(repository, o)
		if err != nil || there {
			return promise, err
		}
	}
	return c.upload(repository, o)
}

// offerManifest makes sure that a repository has a manifest. It returns nil if it cannot.
func (c *client) offerManifest(repository string, o *object) *promise {
	for range 10 {
		there, promise, err := c.hasManifest(repository, o)
		switch {
		case err != nil:
			c.complain(err, "asking for %s", o.content)
			return nil
		case there:
			return promise
		case !c.push(repository, o, ""):
			return nil
		}
	}
	return nil
}

// push pushes a manifest with all that it needs. It reports whether it was acknowledged.
func (c *client) push(repository string, o *object, tag string) bool {
	for range 10 {
		promises := make([]*promise, 0, 4)
		for _, b := range o.blobs {
			promise, err := c.offer(repository, b)
			if err != nil {
				c.complain(err, "asking for or uploading %q", b.content)
				return false
			}
			promises = append(promises, promise)
		}
		for _, child := range o.manifests {
			promise := c.offerManifest(repository, child)
			if promise == nil {
				return false
			}
			promises = append(promises, promise)
		}
		if c.rng.IntN(3) == 0 {
			c.waitForTurn()
		}
		err := c.put(repository, o, tag)
		if err == nil || errors.Is(err, errGivenUp) {
			return err == nil
		}
		for _, promise := range promises {
			if !promise.holds(c.w.s.now()) {
				err = nil
			}
		}
		if err != nil {
			c.w.ledger.fail("%s was told that all of %s was there, and then: %w", c.name, o.content, err)
			return false
		}
	}
	return false
}

func (c *client) complain(err error, format string, arguments ...any) {
	if !errors.Is(err, errGivenUp) {
		c.w.ledger.fail("%s, %s: %w", c.name, fmt.Sprintf(format, arguments...), err)
	}
}

// put is the PUT of a manifest.
func (c *client) put(repository string, o *object, tag string) error {
	promise, err := c.ask((*collection.Replica).Section, func(ctx context.Context, p *process) error {
		r, err := repositoryOf(ctx, p.namespace, repository)
		if err != nil {
			return err
		}
		return put(ctx, r, o, tag)
	})
	if err != nil {
		return err
	}
	if tag != "" || !c.w.untagged {
		promise = nil
	}
	c.w.ledger.add(entry{repository, o, tag}, promise)
	return nil
}

// pushAndDelete pushes an image, and now and then deletes it and pushes it again.
func (c *client) pushAndDelete(tag string) {
	all := append([]*object{live, foreign}, layers...)
	c.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	repository := []string{app, app, other}[c.rng.IntN(3)]
	o := image(tag, nil, all[:2+c.rng.IntN(2)]...)
	if !c.push(repository, o, tag) || c.rng.IntN(3) > 0 {
		return
	}
	c.waitForTurn()
	c.w.ledger.drop(repository, o)
	attempts := 0
	_, err := c.ask((*collection.Replica).Section, func(ctx context.Context, p *process) error {
		attempts++
		return remove(ctx, p, repository, o)
	})
	if err != nil {
		c.complain(err, "deleting %s", o.content)
	}
	if err != nil || attempts > 1 { // the first may still take effect
		return
	}
	if c.rng.IntN(2) == 0 {
		c.waitForTurn()
	}
	c.push(repository, o, tag)
}

// remove is the DELETE of a manifest, as distribution's handler does it.
func remove(ctx context.Context, p *process, repository string, o *object) error {
	r, err := repositoryOf(ctx, p.namespace, repository)
	if err != nil {
		return err
	}
	manifests, err := r.Manifests(ctx)
	if err != nil {
		return err
	}
	// It may have been deleted by a request that had no answer.
	err = manifests.Delete(ctx, o.digest)
	if err != nil && !errors.Is(err, distribution.ErrBlobUnknown) {
		return err
	}
	tags, err := r.Tags(ctx).Lookup(ctx, v1.Descriptor{Digest: o.digest})
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := r.Tags(ctx).Untag(ctx, tag); err != nil && !errors.As(err, new(distribution.ErrTagUnknown)) {
			return err
		}
	}
	return nil
}

// retag gives an old manifest a tag, if it is still there.
func (c *client) retag(tag string) {
	o := append([]*object{oldIndex, signature}, oldImages...)[c.rng.IntN(4)]
	there, promise, err := c.hasManifest(app, o)
	if err != nil {
		c.complain(err, "asking for %s", o.content)
	}
	if err != nil || !there {
		return
	}
	if c.rng.IntN(2) == 0 {
		c.waitForTurn()
	}
	if err := c.put(app, o, tag); err != nil && promise.holds(c.w.s.now()) {
		c.complain(err, "tagging %s", o.content)
	}
}

// pushIndex pushes an index of old manifests.
func (c *client) pushIndex(tag string) {
	children := oldImages[c.rng.IntN(2):]
	c.push(app, index(tag, children...), tag)
}

// attach attaches something to an old manifest that gets a tag.
func (c *client) attach(tag string) {
	subject := oldImages[c.rng.IntN(2)]
	if !c.push(app, subject, tag) {
		return
	}
	c.push(app, image(tag, subject, layers[c.rng.IntN(len(layers))]), tag+"-attached")
}

// pullAll pulls all that was acknowledged.
func (c *client) pullAll() {
	for _, e := range c.w.ledger.all() {
		c.pull(e.repository, e.manifest)
	}
}

func (c *client) pull(repository string, o *object) {
	there, _, err := c.hasManifest(repository, o)
	if err != nil || !there {
		c.w.ledger.fail("pulling %s from %s: %t, %w", o.content, repository, there, err)
	}
	for _, b := range o.blobs {
		if there, _, err := c.hasBlob(repository, b); err != nil || !there {
			c.w.ledger.fail("pulling %q from %s: %t, %w", b.content, repository, there, err)
		}
	}
	for _, child := range o.manifests {
		c.pull(repository, child)
	}
}
