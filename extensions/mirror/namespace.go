package mirror

import (
	"context"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
)

// namespace gives the repositories of upstreams what their origins have. All others are as
// they were.
type namespace struct {
	distribution.Namespace
	extension *Extension
	store     *store
}

// Repository implements distribution.Namespace.
func (n *namespace) Repository(ctx context.Context, name reference.Named) (distribution.Repository, error) {
	local, err := n.Namespace.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	o := n.extension.origin(name.Name())
	if o == nil {
		return local, nil
	}
	return &repository{Repository: local, origin: o, store: n.store}, nil
}

// Enumerate implements distribution.RepositoryEnumerator.
func (n *namespace) Enumerate(ctx context.Context, ingester func(string) error) error {
	if enumerator, ok := n.Namespace.(distribution.RepositoryEnumerator); ok {
		return enumerator.Enumerate(ctx, ingester)
	}
	return distribution.ErrUnsupported
}

// Remove implements distribution.RepositoryRemover.
func (n *namespace) Remove(ctx context.Context, name reference.Named) error {
	if remover, ok := n.Namespace.(distribution.RepositoryRemover); ok {
		return remover.Remove(ctx, name)
	}
	return distribution.ErrUnsupported
}

// repository is what is here of a repository, and its origin for the rest.
type repository struct {
	distribution.Repository
	origin *origin
	store  *store
}

// Manifests implements distribution.Repository.
func (r *repository) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	local, err := r.Repository.Manifests(ctx, options...)
	if err != nil {
		return nil, err
	}
	return &manifests{ManifestService: local, repository: r}, nil
}

// Tags implements distribution.Repository.
func (r *repository) Tags(ctx context.Context) distribution.TagService {
	return &tags{TagService: r.Repository.Tags(ctx), repository: r}
}

// Blobs implements distribution.Repository.
func (r *repository) Blobs(ctx context.Context) distribution.BlobStore {
	return &blobs{BlobStore: r.Repository.Blobs(ctx), repository: r}
}
