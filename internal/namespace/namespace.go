// Package namespace decorates distribution's namespace: it stores and serves the
// manifest types of the extensions, and keeps the index of referrers in step
// with every push and delete. Everything else passes through.
package namespace

import (
	"context"
	"errors"
	"io"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/reference"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/push"
	"github.com/oras-distribution/registry/internal/referrers"
)

// Options say what the registry is configured for.
type Options struct {
	// Types are the manifest types that can be pulled.
	Types *manifest.Types
	// Disabled are the media types among them that cannot be pushed, each with the
	// key of the configuration that says so.
	Disabled map[string]string
	// DeleteEnabled is the switch `storage.delete.enabled`.
	DeleteEnabled bool
	// Validation is how distribution is configured to verify manifests.
	Validation []storage.RegistryOption
	// URLs are the rules for the URLs of layers; nil allows all.
	URLs *URLs
	// Immutable reports which tags of a repository cannot be moved or deleted; nil: none.
	Immutable func(repository string) func(tag string) bool
	// Proxy says that this is a pull-through cache, whose manifests are there before
	// their blobs are.
	Proxy bool
}

// Namespace is a distribution.Namespace that knows referrers.
type Namespace struct {
	distribution.Namespace
	driver  storagedriver.StorageDriver
	reader  *layout.Reader
	index   *referrers.Index
	options Options
}

// readsAtOnce is how many artifact manifests are in memory at once.
const readsAtOnce = 64

// New decorates inner, whose storage driver is driver.
func New(inner distribution.Namespace, driver storagedriver.StorageDriver, index *referrers.Index, options Options) *Namespace {
	return &Namespace{
		Namespace: inner, driver: driver, reader: layout.NewReader(driver, readsAtOnce), index: index, options: options,
	}
}

// Repository implements distribution.Namespace.
func (n *Namespace) Repository(ctx context.Context, name reference.Named) (distribution.Repository, error) {
	inner, err := n.Namespace.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return &repository{Repository: inner, namespace: n}, nil
}

// Repositories implements distribution.Namespace. Where nothing has been pushed yet, there
// are none.
func (n *Namespace) Repositories(ctx context.Context, names []string, last string) (int, error) {
	found, err := n.Namespace.Repositories(ctx, names, last)
	if layout.IsNotFound(err) {
		return found, io.EOF
	}
	return found, err
}

// Enumerate implements distribution.RepositoryEnumerator.
func (n *Namespace) Enumerate(ctx context.Context, ingester func(string) error) error {
	enumerator, ok := n.Namespace.(distribution.RepositoryEnumerator)
	if !ok {
		return errors.New("the repositories of this registry cannot be enumerated")
	}
	return enumerator.Enumerate(ctx, ingester)
}

// Remove implements distribution.RepositoryRemover. The index goes with the
// repository, for it stands in its folder.
func (n *Namespace) Remove(ctx context.Context, name reference.Named) error {
	remover, ok := n.Namespace.(distribution.RepositoryRemover)
	if !ok {
		return distribution.ErrUnsupported
	}
	defer n.index.Forget(name.Name())
	return remover.Remove(ctx, name)
}

type repository struct {
	distribution.Repository
	namespace *Namespace
}

// Manifests implements distribution.Repository.
func (r *repository) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	if push.PartialOf(ctx) != "" {
		options = append(options, storage.SkipLayerVerification())
	}
	inner, err := r.Repository.Manifests(ctx, options...)
	if err != nil {
		return nil, err
	}
	return tagging{&manifests{
		ManifestService: inner, repository: r, name: r.Named().Name(), options: options, ns: r.namespace,
	}}, nil
}
