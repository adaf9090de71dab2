package namespace

import (
	"context"
	"errors"
	"fmt"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/push"
)

// immutable reports which tags of the repository are immutable; nil: none of them. Those
// of a pull-through cache follow the upstream registry, and so do those that a mirror sets.
func (r *repository) immutable() func(tag string) bool {
	options := r.namespace.options
	if options.Immutable == nil || options.Proxy {
		return nil
	}
	return options.Immutable(r.Named().Name())
}

// immutableTags is a tag service that neither moves nor removes immutable tags, unless the
// manifest that one names is gone: it was deleted at the moment at which it was tagged.
type immutableTags struct {
	distribution.TagService
	name      string
	immutable func(tag string) bool
	holds     func(context.Context, digest.Digest) (bool, error)
}

// Tag implements distribution.TagService.
func (t immutableTags) Tag(ctx context.Context, tag string, desc v1.Descriptor) error {
	if err := t.checkMove(ctx, tag, desc.Digest); err != nil {
		return err
	}
	return t.TagService.Tag(ctx, tag, desc)
}

// Untag implements distribution.TagService.
func (t immutableTags) Untag(ctx context.Context, tag string) error {
	if !t.immutable(tag) || push.PartialOf(ctx) != "" {
		return t.TagService.Untag(ctx, tag)
	}
	current, err := t.Get(ctx, tag)
	if err != nil {
		return err
	}
	there, err := t.holds(ctx, current.Digest)
	switch {
	case err != nil:
		return err
	case !there:
		return t.TagService.Untag(ctx, tag)
	}
	return t.refused(ctx, tag, "cannot be deleted")
}

// checkMove refuses to move a tag to another manifest.
func (t immutableTags) checkMove(ctx context.Context, tag string, to digest.Digest) error {
	if !t.immutable(tag) || push.PartialOf(ctx) != "" {
		return nil
	}
	current, err := t.Get(ctx, tag)
	switch {
	case errors.As(err, new(distribution.ErrTagUnknown)), err == nil && current.Digest == to:
		return nil
	case err != nil:
		return fmt.Errorf("asking for tag %s of %s: %w", tag, t.name, err)
	}
	if there, err := t.holds(ctx, current.Digest); err != nil || !there {
		return err
	}
	return t.refused(ctx, tag, fmt.Sprintf("names %s and cannot be moved", current.Digest))
}

// checkDelete refuses to delete a manifest that an immutable tag names.
func (t immutableTags) checkDelete(ctx context.Context, d digest.Digest) error {
	all, err := t.All(ctx)
	if err != nil && !errors.As(err, new(distribution.ErrRepositoryUnknown)) {
		return fmt.Errorf("listing the tags of %s: %w", t.name, err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(tagsAtOnce)
	for _, tag := range all {
		if !t.immutable(tag) {
			continue
		}
		group.Go(func() error {
			current, err := t.Get(groupCtx, tag)
			switch {
			case errors.As(err, new(distribution.ErrTagUnknown)):
				return nil
			case err != nil:
				return fmt.Errorf("asking for tag %s of %s: %w", tag, t.name, err)
			case current.Digest == d:
				return t.refused(ctx, tag, "names the manifest, which therefore cannot be deleted")
			}
			return nil
		})
	}
	return group.Wait()
}

// refused is the refusal of a request about an immutable tag.
func (t immutableTags) refused(ctx context.Context, tag, why string) error {
	return push.Refuse(ctx, errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("the tag %s of %s is immutable: it %s", tag, t.name, why)))
}

// checkTags refuses a push that would move an immutable tag: one in its query, or the one
// in its path.
func (t tagging) checkTags(ctx context.Context, pushed distribution.Manifest, request *push.Push, options []distribution.ManifestServiceOption) error {
	service, ok := t.repository.Tags(ctx).(immutableTags)
	if !ok {
		return nil
	}
	tags := request.Tags
	for _, option := range options {
		if inPath, ok := option.(distribution.WithTagOption); ok && len(tags) == 0 {
			tags = []string{inPath.Tag}
		}
	}
	_, content, err := pushed.Payload()
	if err != nil {
		return err
	}
	for _, tag := range distinct(tags) {
		if err := service.checkMove(ctx, tag, digestOf(ctx, content)); err != nil {
			return err
		}
	}
	return nil
}
