package mirror

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions"
)

// tags is a tag service that asks the origin what its tags name.
type tags struct {
	distribution.TagService
	repository *repository
}

// Tag implements distribution.TagService.
func (t *tags) Tag(context.Context, string, v1.Descriptor) error { return distribution.ErrUnsupported }

// All implements distribution.TagService.
func (t *tags) All(ctx context.Context) ([]string, error) {
	all, err := t.List(ctx, 0, "")
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

// List implements distribution.TagService. What the origin has is not kept.
func (t *tags) List(ctx context.Context, limit int, last string) ([]string, error) {
	o := t.repository.origin
	page, err := o.tags(ctx, limit, last)
	switch {
	case isAbsent(err):
		err = distribution.ErrRepositoryUnknown{Name: o.repository}
	case err != nil && !errors.Is(err, io.EOF):
		err = o.failure(err)
	}
	return page, err
}

// tagged is what an origin says about a tag.
type tagged struct {
	Digest digest.Digest `json:"digest"`
}

// Get implements distribution.TagService.
func (t *tags) Get(ctx context.Context, tag string) (v1.Descriptor, error) {
	r := t.repository
	name := r.origin.repository + ":" + tag
	if r.store.isAbsent(name) {
		return v1.Descriptor{}, distribution.ErrTagUnknown{Tag: tag}
	}
	q := question[tagged]{
		store:  r.store,
		origin: r.origin,
		key:    "tags/" + tag,
		ttl:    func(tagged) time.Duration { return r.origin.ttl },
		ask:    func(ctx context.Context, last tagged) (tagged, error) { return t.ask(ctx, tag, last.Digest) },
	}
	named, err := q.answer(ctx)
	switch {
	case isAbsent(err):
		r.store.setAbsent(r.origin, name)
		return v1.Descriptor{}, distribution.ErrTagUnknown{Tag: tag}
	case err != nil:
		return v1.Descriptor{}, r.failure(ctx, err)
	}
	return v1.Descriptor{Digest: named.Digest}, nil
}

// ask asks the origin which manifest a tag names, and gets that manifest. A tag that is gone
// there goes here, too.
func (t *tags) ask(ctx context.Context, tag string, known digest.Digest) (named tagged, err error) {
	r := t.repository
	d, err := r.origin.resolve(ctx, tag, known)
	if isAbsent(err) {
		return named, errors.Join(err, here(t.remove(ctx, tag)))
	}
	if err != nil {
		return named, err
	}
	isHere, err := r.isHere(ctx, d)
	if err != nil {
		return named, err
	}
	var m distribution.Manifest
	if !isHere {
		if m, err = r.fetch(ctx, d); err != nil {
			return named, err
		}
	}
	if m == nil {
		if current, err := t.TagService.Get(ctx, tag); err == nil && current.Digest == d {
			return tagged{d}, nil
		}
	}
	return tagged{d}, r.keep(ctx, "the tag "+tag, func(ctx context.Context) error { return t.set(ctx, tag, d, m) })
}

// remove removes a tag that is here.
func (t *tags) remove(ctx context.Context, tag string) error {
	current, err := t.TagService.Get(ctx, tag)
	if err == nil {
		err = t.TagService.Untag(extensions.Partial(ctx, current.Digest), tag)
	}
	if errors.As(err, new(distribution.ErrTagUnknown)) {
		return nil
	}
	return err
}

// set tags a manifest, which is stored before if it is not nil. One that has been collected
// meanwhile is got when somebody pulls it.
func (t *tags) set(ctx context.Context, tag string, d digest.Digest, m distribution.Manifest) error {
	if m != nil {
		if err := t.repository.put(ctx, d, m); err != nil {
			return err
		}
	}
	return t.TagService.Tag(extensions.Partial(ctx, d), tag, v1.Descriptor{Digest: d})
}
