package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/push"
)

// RegisterDigests makes distribution compute the digests of manifests that are pushed
// by another algorithm than the canonical one: for each type that is registered, it
// registers manifest.PushedBy. It changes distribution's process-wide table, and may
// be called again.
func RegisterDigests() error {
	types := distribution.ManifestMediaTypes()
	for _, algorithm := range layout.Algorithms()[1:] {
		for _, mediaType := range types {
			pushed := manifest.PushedBy(mediaType, algorithm)
			if manifest.IsPushedBy(mediaType, algorithm) || slices.Contains(types, pushed) {
				continue
			}
			unmarshal := func(content []byte) (distribution.Manifest, v1.Descriptor, error) {
				m, desc, err := distribution.UnmarshalManifest(mediaType, content)
				desc.Digest = algorithm.FromBytes(content)
				return m, desc, err
			}
			if err := distribution.RegisterManifestSchema(pushed, unmarshal); err != nil {
				return fmt.Errorf("registering manifests of %s digests: %w", algorithm, err)
			}
		}
	}
	return nil
}

// digestOf is the digest that a manifest is stored by: the one in the path of the
// request if the content has it, otherwise the canonical one.
func digestOf(ctx context.Context, content []byte) digest.Digest {
	asked := push.PartialOf(ctx)
	if asked == "" {
		reference, _ := ctx.Value("vars.reference").(string) // distribution's
		asked = digest.Digest(reference)
	}
	if asked.Validate() == nil && slices.Contains(layout.Algorithms(), asked.Algorithm()) && asked.Algorithm().FromBytes(content) == asked {
		return asked
	}
	return digest.FromBytes(content)
}

// put stores a manifest of one of distribution's own types. Distribution would store
// it by its canonical digest whatever digest it is pushed by, so for others it only
// verifies it.
func (m *manifests) put(ctx context.Context, pushed distribution.Manifest, options []distribution.ManifestServiceOption) (digest.Digest, error) {
	_, content, err := pushed.Payload()
	if err != nil {
		return "", err
	}
	if err := m.useForPush(ctx, content); err != nil {
		return "", err
	}
	if err := m.replaceDamaged(ctx, content); err != nil {
		return "", err
	}
	d := digestOf(ctx, content)
	if d.Algorithm() == digest.Canonical {
		err = layout.Undisturbed(ctx, func() (err error) { // by a delete of the same manifest
			d, err = m.ManifestService.Put(ctx, pushed, options...)
			return err
		})
		return d, verification(err)
	}
	if err := m.verifyOnly(ctx, pushed, options); err != nil {
		return "", verification(err)
	}
	return d, m.store(ctx, d, content)
}

// verification is what a verification by distribution has come to. If the storage could not
// tell about a reference, that is all: distribution would call the reference missing, and
// show the client what the storage said.
func verification(err error) error {
	var problems distribution.ErrManifestVerification
	if !errors.As(err, &problems) {
		return err
	}
	for _, problem := range problems {
		if !errors.As(problem, new(distribution.ErrManifestBlobUnknown)) && !errors.As(problem, new(distribution.ErrManifestNameInvalid)) &&
			!errors.As(problem, new(distribution.ErrManifestUnverified)) {
			return problem
		}
	}
	return err
}

// verifyOnly lets distribution store a manifest in a registry that writes nothing.
func (m *manifests) verifyOnly(ctx context.Context, pushed distribution.Manifest, options []distribution.ManifestServiceOption) error {
	registry, err := storage.NewRegistry(ctx, unwritten{m.ns.driver}, m.ns.options.Validation...)
	if err != nil {
		return err
	}
	repository, err := registry.Repository(ctx, m.repository.Named())
	if err != nil {
		return err
	}
	verifying, err := repository.Manifests(ctx, m.options...)
	if err != nil {
		return err
	}
	_, err = verifying.Put(ctx, pushed, options...)
	return err
}

// unwritten is a storage driver whose files are not written.
type unwritten struct{ storagedriver.StorageDriver }

// PutContent implements storagedriver.StorageDriver.
func (unwritten) PutContent(context.Context, string, []byte) error { return nil }

// store writes the bytes of a manifest, and then its revision.
func (m *manifests) store(ctx context.Context, d digest.Digest, content []byte) error {
	switch info, err := m.ns.driver.Stat(ctx, layout.BlobData(d)); {
	case layout.IsNotFound(err), err == nil && info.Size() != int64(len(content)):
		if err := m.ns.driver.PutContent(ctx, layout.BlobData(d), content); err != nil {
			return fmt.Errorf("storing manifest %s: %w", d, err)
		}
	case err != nil:
		return fmt.Errorf("asking for manifest %s: %w", d, err)
	}
	err := layout.Undisturbed(ctx, func() error { // by a delete of the same manifest
		return m.ns.driver.PutContent(ctx, layout.RevisionLink(m.name, d), []byte(d))
	})
	if err != nil {
		return fmt.Errorf("putting manifest %s into %s: %w", d, m.name, err)
	}
	return nil
}
