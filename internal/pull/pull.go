// Package pull pulls images through a registry, as clients would: with all that they need,
// and with what is attached to them. A mirror has them afterwards.
package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/listing"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/progress"
)

// Puller pulls from the repositories of a registry.
type Puller struct {
	Namespace distribution.Namespace
	Referrers listing.Lister
	Types     *manifest.Types
	Progress  *progress.Reporter // may be nil
}

// Summary is what was pulled of one image.
type Summary struct {
	Digest    digest.Digest `json:"digest"`
	Manifests int           `json:"manifests"`
	Referrers int           `json:"referrers"` // of these manifests
	Blobs     int           `json:"blobs"`
	Bytes     int64         `json:"bytes"` // of the blobs
}

// How much of one image is pulled at once.
const (
	manifestsAtOnce = 4
	blobsAtOnce     = 4
)

// Pull pulls what a tag or digest in a repository names.
func (p *Puller) Pull(ctx context.Context, name reference.Named, tagOrDigest string) (Summary, error) {
	repository, err := p.Namespace.Repository(ctx, name)
	if err != nil {
		return Summary{}, err
	}
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return Summary{}, err
	}
	run := &run{Puller: p, manifests: manifests, blobs: repository.Blobs(ctx), name: name.Name(), seen: map[digest.Digest]bool{}}
	run.sum.Digest = digest.Digest(tagOrDigest)
	if run.sum.Digest.Validate() != nil {
		desc, err := repository.Tags(ctx).Get(ctx, tagOrDigest)
		if err != nil {
			return Summary{}, err
		}
		run.sum.Digest = desc.Digest
	}
	err = run.all(ctx)
	return run.sum, err
}

// run is the pull of one image.
type run struct {
	*Puller
	manifests distribution.ManifestService
	blobs     distribution.BlobStore
	name      string

	mu   sync.Mutex
	seen map[digest.Digest]bool
	sum  Summary
}

// all pulls one manifest after the other of those that are found, several at once.
func (r *run) all(ctx context.Context) error {
	for found := []digest.Digest{r.sum.Digest}; len(found) > 0; {
		var next []digest.Digest
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(manifestsAtOnce)
		for _, d := range found {
			if !r.isNew(d) {
				continue
			}
			group.Go(func() error {
				more, err := r.manifest(groupCtx, d)
				if err != nil {
					return err
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				next = append(next, more...)
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		found = next
	}
	return nil
}

func (r *run) isNew(d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen[d]
	r.seen[d] = true
	return !seen
}

// manifest pulls a manifest and its blobs, and returns the manifests that belong to it.
func (r *run) manifest(ctx context.Context, d digest.Digest) (more []digest.Digest, err error) {
	m, err := r.manifests.Get(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	r.count(func(s *Summary) { s.Manifests++ })
	r.Progress.Add("manifests", 1)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	for _, desc := range m.References() {
		if _, ok := r.Types.Of(desc.MediaType); ok {
			more = append(more, desc.Digest)
		} else if r.isNew(desc.Digest) {
			group.Go(func() error { return r.blob(groupCtx, desc) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	set, err := r.Referrers.Referrers(ctx, r.name, d)
	if err != nil {
		return nil, fmt.Errorf("the referrers of %s: %w", d, err)
	}
	for _, referrer := range set.Referrers {
		more = append(more, referrer.Digest)
	}
	r.count(func(s *Summary) { s.Referrers += len(set.Referrers) })
	return more, nil
}

// blob pulls a blob. One that its manifest says to get elsewhere need not be there.
func (r *run) blob(ctx context.Context, desc v1.Descriptor) error {
	content, err := r.blobs.Open(ctx, desc.Digest)
	if errors.Is(err, distribution.ErrBlobUnknown) && len(desc.URLs) > 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	defer content.Close()
	size, err := io.Copy(io.Discard, content)
	if err != nil {
		return fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	r.count(func(s *Summary) { s.Blobs++; s.Bytes += size })
	r.Progress.Add("blobs", 1)
	r.Progress.Add("bytes", size)
	return nil
}

func (r *run) count(change func(*Summary)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.sum)
}
