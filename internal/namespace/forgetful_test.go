package namespace_test

import (
	"context"
	"errors"
	"testing"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/namespace"
)

// forgetful is a descriptor cache that knows nothing, as Redis just after its start.
type forgetful struct {
	// times is how often Clear still says so.
	times int
}

func (f *forgetful) RepositoryScoped(string) (distribution.BlobDescriptorService, error) {
	return f, nil
}

func (*forgetful) Stat(context.Context, digest.Digest) (v1.Descriptor, error) {
	return v1.Descriptor{}, errors.New("connection refused")
}

func (*forgetful) SetDescriptor(context.Context, digest.Digest, v1.Descriptor) error { return nil }

func (f *forgetful) Clear(context.Context, digest.Digest) error {
	if f.times == 0 {
		return nil
	}
	f.times--
	return distribution.ErrBlobUnknown
}

// A manifest that is there is never unknown, whatever the descriptor cache says of it. If it
// is not deleted, it is still listed.
func TestDeleteWithAForgetfulCache(t *testing.T) {
	cache := &forgetful{}
	w := newWorld(t, namespace.Options{DeleteEnabled: true}, storage.BlobDescriptorCacheProvider(cache))
	subject := digest.FromString("subject")
	d := w.mustPut(artifact, referrer(subject))
	cache.times = 100
	if err := w.manifests.Delete(t.Context(), d); err == nil || errors.Is(err, distribution.ErrBlobUnknown) {
		t.Errorf("delete: %v", err)
	}
	if got := w.listed(subject); len(got) != 1 {
		t.Errorf("listed: %v", got)
	}
	cache.times = 1
	if err := w.manifests.Delete(t.Context(), d); err != nil {
		t.Errorf("delete: %v", err)
	}
	if got := w.listed(subject); len(got) != 0 {
		t.Errorf("listed: %v", got)
	}
}
