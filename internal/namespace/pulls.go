package namespace

import (
	"context"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pulls decorates the namespace that distribution serves, and tells pulled which manifests
// are pulled from it, by tag or digest. A client that already has what a tag names has pulled it, too.
func Pulls(inner distribution.Namespace, pulled func(repository string, d digest.Digest)) distribution.Namespace {
	return pulls{inner, pulled}
}

type pulls struct {
	distribution.Namespace
	pulled func(repository string, d digest.Digest)
}

// Repository implements distribution.Namespace.
func (p pulls) Repository(ctx context.Context, name reference.Named) (distribution.Repository, error) {
	inner, err := p.Namespace.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return pulledRepository{inner, func(d digest.Digest) { p.pulled(name.Name(), d) }}, nil
}

// Enumerate implements distribution.RepositoryEnumerator.
func (p pulls) Enumerate(ctx context.Context, ingester func(string) error) error {
	enumerator, ok := p.Namespace.(distribution.RepositoryEnumerator)
	if !ok {
		return distribution.ErrUnsupported
	}
	return enumerator.Enumerate(ctx, ingester)
}

// Remove implements distribution.RepositoryRemover.
func (p pulls) Remove(ctx context.Context, name reference.Named) error {
	remover, ok := p.Namespace.(distribution.RepositoryRemover)
	if !ok {
		return distribution.ErrUnsupported
	}
	return remover.Remove(ctx, name)
}

type pulledRepository struct {
	distribution.Repository
	pulled func(digest.Digest)
}

// Manifests implements distribution.Repository.
func (r pulledRepository) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	inner, err := r.Repository.Manifests(ctx, options...)
	if err != nil {
		return nil, err
	}
	return pulledManifests{inner, r.pulled}, nil
}

// Tags implements distribution.Repository.
func (r pulledRepository) Tags(ctx context.Context) distribution.TagService {
	return pulledTags{r.Repository.Tags(ctx), r.pulled}
}

type pulledManifests struct {
	distribution.ManifestService
	pulled func(digest.Digest)
}

// Get implements distribution.ManifestService.
func (m pulledManifests) Get(ctx context.Context, d digest.Digest, options ...distribution.ManifestServiceOption) (distribution.Manifest, error) {
	found, err := m.ManifestService.Get(ctx, d, options...)
	if err == nil {
		m.pulled(d)
	}
	return found, err
}

type pulledTags struct {
	distribution.TagService
	pulled func(digest.Digest)
}

// Get implements distribution.TagService.
func (t pulledTags) Get(ctx context.Context, tag string) (v1.Descriptor, error) {
	desc, err := t.TagService.Get(ctx, tag)
	if err == nil {
		t.pulled(desc.Digest)
	}
	return desc, err
}
