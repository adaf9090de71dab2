package namespace

import (
	"context"
	"errors"
	"fmt"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/push"
)

// use says that a client relies on what a link of the repository leads to, a manifest or a
// blob, before anything is asked about it. It reports whether it may be there: what a
// collection is removing is not, and where a descriptor cache may vouch for what is gone,
// the storage is asked.
func (n *Namespace) use(ctx context.Context, repository string, d digest.Digest, link func(string, digest.Digest) string) (bool, error) {
	section := collection.From(ctx)
	err := section.Use(ctx, repository, d)
	switch {
	case errors.Is(err, collection.ErrGone):
		return false, nil
	case err != nil:
		return false, err
	case !section.Suspect(repository, d):
		return true, nil
	}
	there, err := n.isStored(ctx, link(repository, d))
	if there {
		section.Seen(repository, d)
	}
	return there, err
}

// isStored reports whether there are a link and the bytes that it leads to, whatever a
// descriptor cache says.
func (n *Namespace) isStored(ctx context.Context, link string) (bool, error) {
	content, err := n.driver.GetContent(ctx, link)
	stored := digest.Digest(content)
	switch {
	case layout.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("asking for %s: %w", link, err)
	case stored.Validate() != nil:
		return false, nil
	}
	_, err = n.driver.Stat(ctx, layout.BlobData(stored))
	if layout.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// use is Namespace.use for a blob: what is not there is ErrBlobUnknown.
func (b *blobs) use(ctx context.Context, d digest.Digest) error {
	return b.repository.namespace.useBlob(ctx, b.repository.Named().Name(), d)
}

func (n *Namespace) useBlob(ctx context.Context, repository string, d digest.Digest) error {
	there, err := n.use(ctx, repository, d, layout.LayerLink)
	if err == nil && !there {
		err = distribution.ErrBlobUnknown
	}
	return err
}

// stillThere fails if a collection has taken a blob that was being uploaded.
func (b *blobs) stillThere(ctx context.Context, d digest.Digest) error {
	there, err := b.repository.namespace.isStored(ctx, layout.LayerLink(b.repository.Named().Name(), d))
	if err == nil && !there {
		err = collection.From(ctx).Retry("a garbage collection has removed the blob while it was uploaded")
	}
	return err
}

// use is Namespace.use for a manifest: what is not there is ErrManifestUnknownRevision.
func (m *manifests) use(ctx context.Context, d digest.Digest) error {
	there, err := m.ns.use(ctx, m.name, d, layout.RevisionLink)
	if err == nil && !there {
		err = distribution.ErrManifestUnknownRevision{Name: m.name, Revision: d}
	}
	return err
}

// useForPush says that a manifest is about to be stored, and that it needs what it
// references. What is not there any more is an error of the manifest.
func (m *manifests) useForPush(ctx context.Context, content []byte) error {
	section := collection.From(ctx)
	if section == nil {
		return nil
	}
	if push.PartialOf(ctx) != "" { // what it needs can be pulled again
		return m.write(ctx, digestOf(ctx, content), content)
	}
	references, subject, err := m.ns.options.Types.Reach(content)
	if err != nil {
		references = nil // distribution will refuse it, or knows better
	}
	needed := make([]digest.Digest, 0, len(references)+1)
	for _, reference := range references {
		needed = append(needed, reference.Digest)
	}
	if subject != "" {
		needed = append(needed, subject)
	}
	// What is being removed may be promised by a replica that knows better by now.
	if err := section.Use(ctx, m.name, needed...); errors.Is(err, collection.ErrGone) {
		return section.Retry("a garbage collection is removing something that the manifest needs")
	} else if err != nil {
		return err
	}
	for _, reference := range references {
		if !section.Suspect(m.name, reference.Digest) {
			continue
		}
		there, err := m.ns.use(ctx, m.name, reference.Digest, layout.LayerLink)
		if err == nil && !there {
			there, err = m.ns.isStored(ctx, layout.RevisionLink(m.name, reference.Digest))
		}
		if err != nil {
			return err
		}
		if !there {
			return distribution.ErrManifestVerification{distribution.ErrManifestBlobUnknown{Digest: reference.Digest}}
		}
	}
	return m.write(ctx, digestOf(ctx, content), content)
}

// replaceDamaged writes the bytes of a manifest that was pulled from elsewhere where others are
// stored under its digest. Distribution writes nothing where there is something.
func (m *manifests) replaceDamaged(ctx context.Context, content []byte) error {
	if push.PartialOf(ctx) == "" {
		return nil
	}
	d := digestOf(ctx, content)
	err := m.ns.reader.Manifest(ctx, d, func([]byte) error { return nil })
	switch {
	case errors.Is(err, layout.ErrNoContent):
		return nil
	case !errors.Is(err, layout.ErrCorrupt):
		return err
	}
	if err := m.ns.driver.PutContent(ctx, layout.BlobData(d), content); err != nil {
		return fmt.Errorf("replacing the bytes of manifest %s: %w", d, err)
	}
	return nil
}

// write says that the bytes of a manifest are about to be stored. Distribution does not
// write what its descriptor cache vouches for.
func (m *manifests) write(ctx context.Context, d digest.Digest, content []byte) error {
	section := collection.From(ctx)
	if err := section.Write(ctx, m.name, d); err != nil {
		return err
	}
	if !section.Suspect(m.name, d) {
		return nil
	}
	switch _, err := m.ns.driver.Stat(ctx, layout.BlobData(d)); {
	case err == nil:
		return nil
	case !layout.IsNotFound(err):
		return fmt.Errorf("asking for manifest %s: %w", d, err)
	}
	if err := m.ns.driver.PutContent(ctx, layout.BlobData(d), content); err != nil {
		return fmt.Errorf("storing manifest %s: %w", d, err)
	}
	return nil
}

// Exists implements distribution.ManifestService.
func (m *manifests) Exists(ctx context.Context, d digest.Digest) (bool, error) {
	err := m.use(ctx, d)
	if errors.As(err, new(distribution.ErrManifestUnknownRevision)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return m.ManifestService.Exists(ctx, d)
}

// Get implements distribution.TagService.
func (t tagService) Get(ctx context.Context, tag string) (v1.Descriptor, error) {
	err := collection.From(ctx).UseTag(ctx, t.name, tag)
	switch {
	case errors.Is(err, collection.ErrGone):
		return v1.Descriptor{}, distribution.ErrTagUnknown{Tag: tag}
	case err != nil:
		return v1.Descriptor{}, err
	}
	return t.TagService.Get(ctx, tag)
}

// Tag implements distribution.TagService.
func (t tagService) Tag(ctx context.Context, tag string, desc v1.Descriptor) error {
	section := collection.From(ctx)
	if err := section.WriteTag(ctx, t.name, tag); err != nil {
		return err
	}
	if err := section.Write(ctx, t.name, desc.Digest); err != nil {
		return err
	}
	return t.TagService.Tag(ctx, tag, desc)
}
