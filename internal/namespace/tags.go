package namespace

import (
	"context"
	"fmt"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/push"
)

// maxTags is how many tags one push may set. The specification wants 10 at least.
const maxTags = 100

// tagsAtOnce is how many tags of one push are written at once.
const tagsAtOnce = 16

// statusURITooLong is the specification's status for a push with too many tags.
const statusURITooLong = 414

// tagService is the tag service of one repository.
type tagService struct {
	distribution.TagService
	name string // of the repository
}

// Tags implements distribution.Repository.
func (r *repository) Tags(ctx context.Context) distribution.TagService {
	tags := tagService{r.Repository.Tags(ctx), r.Named().Name()}
	if immutable := r.immutable(); immutable != nil {
		name := r.Named().Name()
		return immutableTags{tags, name, immutable, func(ctx context.Context, d digest.Digest) (bool, error) {
			return r.namespace.index.HasRevision(ctx, name, d)
		}}
	}
	return tags
}

// Untag implements distribution.TagService. Of a tag that is not there distribution says
// where in the storage it is not.
func (t tagService) Untag(ctx context.Context, tag string) error {
	err := t.TagService.Untag(ctx, tag)
	if layout.IsNotFound(err) {
		return distribution.ErrTagUnknown{Tag: tag}
	}
	return err
}

// tagging is a manifest service that also sets the tags which a push by digest names
// in its query.
type tagging struct{ *manifests }

// Put implements distribution.ManifestService. When it returns without error, the
// manifest is stored and all of the tags name it. After an error some may, and the push
// can be sent again.
func (t tagging) Put(ctx context.Context, pushed distribution.Manifest, options ...distribution.ManifestServiceOption) (digest.Digest, error) {
	if d, ok := ctx.Value(storedKey{}).(digest.Digest); ok {
		return d, nil
	}
	request := push.From(ctx)
	if err := t.check(request); err != nil {
		return "", err
	}
	if err := t.checkTags(ctx, pushed, request, options); err != nil {
		return "", err
	}
	d, err := t.manifests.Put(ctx, pushed, options...)
	if err != nil || len(request.Tags) == 0 {
		return d, err
	}
	return d, t.tag(ctx, d, request)
}

// check refuses tags that cannot be set.
func (t tagging) check(request *push.Push) error {
	if len(request.Tags) > maxTags {
		request.Status = statusURITooLong
		return errcode.ErrorCodeTagInvalid.WithDetail(map[string]string{"reason": fmt.Sprintf("a push sets %d tags at most", maxTags)})
	}
	for _, tag := range request.Tags {
		if _, err := reference.WithTag(t.repository.Named(), tag); err != nil {
			return errcode.ErrorCodeTagInvalid.WithDetail(map[string]string{"tag": tag, "reason": err.Error()})
		}
	}
	return nil
}

// tag sets the tags of a push, and says in it which were set.
func (t tagging) tag(ctx context.Context, d digest.Digest, request *push.Push) error {
	tags := distinct(request.Tags)
	failures := make([]error, len(tags))
	service := t.repository.Tags(ctx)
	var group errgroup.Group
	group.SetLimit(tagsAtOnce)
	for i, tag := range tags {
		group.Go(func() error {
			failures[i] = service.Tag(ctx, tag, v1.Descriptor{Digest: d})
			return failures[i]
		})
	}
	err := group.Wait()
	var failed []string
	for i, tag := range tags {
		if failures[i] == nil {
			request.Tagged = append(request.Tagged, tag)
			continue
		}
		failed = append(failed, tag)
		logrus.WithFields(logrus.Fields{"vars.name": t.name, "vars.reference": tag}).Errorf("tagging %s: %v", d, failures[i])
	}
	if err != nil {
		return errcode.ErrorCodeUnavailable.WithDetail(map[string]any{"reason": "the manifest is stored, but not all tags are set", "failed": failed})
	}
	return nil
}

// distinct is a list with each of its texts once, in their order.
func distinct(list []string) (once []string) {
	for _, text := range list {
		if !slices.Contains(once, text) {
			once = append(once, text)
		}
	}
	return once
}

// storedKey is the key of the digest of a manifest that this request has stored.
type storedKey struct{}

// Announced decorates a repository around the notifications of its pushes, so that
// there is one for each tag of a push.
func Announced(inner distribution.Repository) distribution.Repository { return announced{inner} }

type announced struct{ distribution.Repository }

// Manifests implements distribution.Repository.
func (a announced) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	inner, err := a.Repository.Manifests(ctx, options...)
	if err != nil {
		return nil, err
	}
	return announcing{inner}, nil
}

type announcing struct{ distribution.ManifestService }

// Put implements distribution.ManifestService. The push itself is notified with its
// first tag if all are set, and every other that was set by a Put of what is stored.
func (a announcing) Put(ctx context.Context, pushed distribution.Manifest, options ...distribution.ManifestServiceOption) (digest.Digest, error) {
	request := push.From(ctx)
	if len(request.Tags) == 0 {
		return a.ManifestService.Put(ctx, pushed, options...)
	}
	withTag := func(tag string) []distribution.ManifestServiceOption {
		return append(slices.Clone(options), distribution.WithTag(tag))
	}
	d, err := a.ManifestService.Put(ctx, pushed, withTag(request.Tags[0])...)
	rest := request.Tagged
	if err == nil && len(rest) > 0 {
		rest = rest[1:]
	}
	stored := context.WithValue(ctx, storedKey{}, d)
	for _, tag := range rest {
		if _, err := a.ManifestService.Put(stored, pushed, withTag(tag)...); err != nil {
			return "", err
		}
	}
	return d, err
}
