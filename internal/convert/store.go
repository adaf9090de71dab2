package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// convert converts one manifest, whose subject has been converted before.
func (r *run) convert(ctx context.Context, d digest.Digest) (Result, error) {
	r.options.Progress.Add("artifacts", 1)
	a := r.artifacts[d]
	subject, skip, err := r.subjectOf(ctx, a)
	if err != nil {
		return Result{}, err
	}
	if skip != "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.skipped[d] = true
		return Result{State: Skipped, Reason: skip}, nil
	}
	var result Result
	err = r.reader.Manifest(ctx, d, func(content []byte) error {
		image, err := a.kind.ToImage(content, subject, d.Algorithm())
		if err != nil {
			return problem(err.Error())
		}
		if len(image) > layout.MaxManifest {
			return problem(fmt.Sprintf("the conversion would have %d bytes, more than the %d of the largest manifest", len(image), layout.MaxManifest))
		}
		desc := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(image), Size: int64(len(image))}
		result = Result{Image: desc.Digest}
		if result.State, err = r.storeBesideCollections(ctx, desc, image); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.images[d] = desc
		r.stored[desc.Digest] = result.State == Converted
		return nil
	})
	return result, err
}

// subjectOf returns the conversion of the subject; nil if there is none, because
// the subject is not converted. It says why the manifest is skipped, if it is.
func (r *run) subjectOf(ctx context.Context, a artifact) (image *v1.Descriptor, skip string, err error) {
	if a.subject == "" {
		return nil, "", nil
	}
	r.mu.Lock()
	_, chained := r.artifacts[a.subject]
	converted, done := r.images[a.subject]
	unreadable, skipped := r.unreadable[a.subject], r.skipped[a.subject]
	there, asked := r.there[a.subject]
	r.mu.Unlock()
	switch {
	case done:
		return &converted, "", nil
	case skipped:
		return nil, fmt.Sprintf("its subject %s was skipped", a.subject), nil
	case chained:
		return nil, "", problem(fmt.Sprintf("its subject %s could not be converted", a.subject))
	case unreadable:
		return nil, "", problem(fmt.Sprintf("its subject %s cannot be read", a.subject))
	case !asked:
		if there, err = r.index.HasRevision(ctx, r.name, a.subject); err != nil {
			return nil, "", err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.there[a.subject] = there
	}
	if !there {
		return nil, fmt.Sprintf("its subject %s is not in the repository", a.subject), nil
	}
	return nil, "", nil
}

// attempts is how often a conversion is stored that a garbage collection gets in the way of.
const attempts = 10

// storeBesideCollections stores a conversion unless it is there. What a garbage collection was
// removing, it stores again.
func (r *run) storeBesideCollections(ctx context.Context, desc v1.Descriptor, content []byte) (state State, err error) {
	for range attempts {
		work, end := r.options.Work(ctx)
		state, err = r.store(work, desc, content)
		var again interface{ Retry() time.Duration }
		if err = cmp.Or(err, end()); err == nil || !errors.As(err, &again) {
			return state, err
		}
		r.mu.Lock()
		r.hasEmpty = false
		r.mu.Unlock()
		select {
		case <-time.After(again.Retry()):
		case <-ctx.Done():
			return state, ctx.Err()
		}
	}
	return state, err
}

// store stores a conversion, as a push would, unless it is there.
func (r *run) store(ctx context.Context, desc v1.Descriptor, content []byte) (State, error) {
	image, err := new(manifest.Types).Parse(content)
	if err != nil {
		return "", problem(err.Error())
	}
	there, err := r.has(ctx, desc, image.Subject)
	if err != nil {
		return "", err
	}
	if there && r.options.DryRun {
		return Unchanged, nil
	}
	if !there {
		if err := r.checkLayers(ctx, image.References); err != nil {
			return "", err
		}
	}
	if r.options.DryRun {
		return Pending, nil
	}
	if err := r.putEmpty(ctx); err != nil {
		return "", err
	}
	if there {
		return Unchanged, nil
	}
	return Converted, r.put(ctx, desc, content)
}

// has reports whether a conversion is stored and linked completely. A run may have
// been killed at any point.
func (r *run) has(ctx context.Context, desc v1.Descriptor, subject *v1.Descriptor) (bool, error) {
	info, err := r.driver.Stat(ctx, layout.BlobData(desc.Digest))
	switch {
	case layout.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("asking for manifest %s: %w", desc.Digest, err)
	case info.Size() != desc.Size:
		return false, nil
	}
	there, err := r.index.HasRevision(ctx, r.name, desc.Digest)
	if err != nil || !there || subject == nil {
		return there, err
	}
	return r.reader.Holds(ctx, layout.ReferrerLink(r.name, subject.Digest, desc.Digest), desc.Digest)
}

// checkLayers checks that what a conversion refers to is in the repository. A
// manifest that an artifact lists among its blobs is made a blob as well, because
// that is where the layers of an image are.
func (r *run) checkLayers(ctx context.Context, references []v1.Descriptor) error {
	checked := map[digest.Digest]bool{digest.FromString(manifest.EmptyJSON): true}
	for _, desc := range references {
		if checked[desc.Digest] {
			continue
		}
		checked[desc.Digest] = true
		stat, err := r.blobs.Stat(ctx, desc.Digest)
		if _, ok := r.options.Types.Of(desc.MediaType); ok && errors.Is(err, distribution.ErrBlobUnknown) {
			stat, err = r.putManifestAsBlob(ctx, desc)
		}
		switch {
		case errors.Is(err, distribution.ErrBlobUnknown):
			return problem(fmt.Sprintf("blob %s is not in the repository", desc.Digest))
		case err != nil:
			return fmt.Errorf("asking for blob %s: %w", desc.Digest, err)
		case stat.Size != desc.Size:
			return problem(fmt.Sprintf("the size of blob %s is given as %d, but it has %d bytes", desc.Digest, desc.Size, stat.Size))
		}
	}
	return nil
}

// putManifestAsBlob makes a manifest of the repository a blob of it as well.
func (r *run) putManifestAsBlob(ctx context.Context, desc v1.Descriptor) (stat v1.Descriptor, err error) {
	there, err := r.index.HasRevision(ctx, r.name, desc.Digest)
	if err != nil {
		return stat, err
	}
	if !there {
		return stat, distribution.ErrBlobUnknown
	}
	err = r.inner.Manifest(ctx, desc.Digest, func(content []byte) error {
		if stat.Size = int64(len(content)); r.options.DryRun {
			return nil
		}
		w, err := r.blobs.Create(ctx)
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return errors.Join(err, w.Cancel(ctx))
		}
		_, err = w.Commit(ctx, v1.Descriptor{Digest: desc.Digest})
		return err
	})
	return stat, err
}

// putEmpty stores the blob of the empty config, once.
func (r *run) putEmpty(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hasEmpty {
		return nil
	}
	_, err := r.blobs.Stat(ctx, digest.FromString(manifest.EmptyJSON))
	if errors.Is(err, distribution.ErrBlobUnknown) {
		_, err = r.blobs.Put(ctx, v1.MediaTypeEmptyJSON, []byte(manifest.EmptyJSON))
	}
	if err != nil {
		return fatal{fmt.Errorf("storing the empty config: %w", err)}
	}
	r.hasEmpty = true
	return nil
}

// put stores a conversion and links it to its subject.
func (r *run) put(ctx context.Context, desc v1.Descriptor, content []byte) error {
	// Distribution does not write what seems to be there.
	if info, err := r.driver.Stat(ctx, layout.BlobData(desc.Digest)); err == nil && info.Size() != desc.Size {
		if err := r.driver.PutContent(ctx, layout.BlobData(desc.Digest), content); err != nil {
			return fmt.Errorf("storing manifest %s: %w", desc.Digest, err)
		}
	}
	image, _, err := distribution.UnmarshalManifest(desc.MediaType, content)
	if err != nil {
		return problem(err.Error())
	}
	_, err = r.manifests.Put(ctx, image)
	if refused := new(errcode.Error); errors.As(err, refused) {
		return problem(fmt.Sprintf("%s: %v", refused.Message, refused.Detail))
	}
	if errors.As(err, new(distribution.ErrManifestVerification)) {
		return problem(err.Error())
	}
	return err
}
