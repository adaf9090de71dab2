package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/schema2"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
)

// manifests is a manifest service that gets what is not here from the origin.
type manifests struct {
	distribution.ManifestService
	repository *repository
}

// Enumerate implements distribution.ManifestEnumerator.
func (m *manifests) Enumerate(ctx context.Context, ingester func(digest.Digest) error) error {
	if enumerator, ok := m.ManifestService.(distribution.ManifestEnumerator); ok {
		return enumerator.Enumerate(ctx, ingester)
	}
	return distribution.ErrUnsupported
}

// Put implements distribution.ManifestService: what a mirror has comes from its origin.
func (m *manifests) Put(context.Context, distribution.Manifest, ...distribution.ManifestServiceOption) (digest.Digest, error) {
	return "", distribution.ErrUnsupported
}

// Get implements distribution.ManifestService.
func (m *manifests) Get(ctx context.Context, d digest.Digest, options ...distribution.ManifestServiceOption) (distribution.Manifest, error) {
	local, err := m.ManifestService.Get(ctx, d, options...)
	switch {
	case isNotHere(err):
	case isDamaged(d, local, err):
		logrus.WithField("vars.name", m.repository.origin.repository).
			Warnf("mirror: the stored bytes of manifest %s do not have its digest: it is got again", d)
	case err != nil:
		return nil, err
	default:
		m.repository.origin.meter.hits.Inc()
		return local, nil
	}
	return m.repository.pull(ctx, d)
}

// isDamaged reports whether what the storage has of a manifest does not have its digest.
func isDamaged(d digest.Digest, m distribution.Manifest, err error) bool {
	if err != nil {
		return errors.Is(err, extensions.ErrDamaged)
	}
	_, content, err := m.Payload()
	return err != nil || d.Algorithm().FromBytes(content) != d
}

// pull gets a manifest from the origin, and stores it.
func (r *repository) pull(ctx context.Context, d digest.Digest) (distribution.Manifest, error) {
	unknown := distribution.ErrManifestUnknownRevision{Name: r.origin.repository, Revision: d}
	name := r.origin.repository + "@" + d.String()
	if r.store.isAbsent(name) {
		return nil, unknown
	}
	pulled, err := shared(ctx, r.store, r.origin, name, func(ctx context.Context) (distribution.Manifest, error) {
		m, err := r.fetch(ctx, d)
		if err == nil {
			err = r.keep(ctx, d.String(), func(ctx context.Context) error { return r.put(ctx, d, m) })
		}
		return m, err
	})
	switch {
	case isAbsent(err):
		r.store.setAbsent(r.origin, name)
		return nil, unknown
	case err != nil:
		return nil, r.failure(ctx, err)
	}
	return pulled, nil
}

// keep stores what clients are given all the same if it cannot be stored now.
func (r *repository) keep(ctx context.Context, what string, store func(context.Context) error) error {
	err := r.store.storing(ctx, r.origin.answering, store)
	if isHere(err) {
		logrus.WithField("vars.name", r.origin.repository).Warnf("mirror: storing %s: %v", what, err)
		return nil
	}
	return err
}

// failure is what a client is told. What the registry itself has to say comes first.
func (r *repository) failure(ctx context.Context, err error) error {
	var own errcode.Error
	var later interface{ Retry() time.Duration }
	switch {
	case isRefused(err):
	case errors.As(err, &own):
		return own
	case errors.As(err, &later):
		return errcode.ErrorCodeUnavailable.WithDetail(err.Error())
	case isHere(err) || ctx.Err() != nil:
		return err
	}
	return r.origin.failure(err)
}

// fetch gets a manifest from the origin.
func (r *repository) fetch(ctx context.Context, d digest.Digest) (distribution.Manifest, error) {
	mediaType, content, err := r.origin.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(mediaTypes(), mediaType) {
		return nil, fmt.Errorf("manifest %s is of type %s, which this registry does not store", d, mediaType)
	}
	m, _, err := distribution.UnmarshalManifest(mediaType, content)
	if err == nil {
		err = checkVersion(mediaType, content)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	return m, nil
}

// checkVersion checks the version of the schema of distribution's own types, as its store
// does.
func checkVersion(mediaType string, content []byte) error {
	var versioned specs.Versioned
	switch mediaType {
	case v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, schema2.MediaTypeManifest, manifestlist.MediaTypeManifestList:
		if err := json.Unmarshal(content, &versioned); err != nil {
			return err
		}
		if versioned.SchemaVersion != 2 {
			return fmt.Errorf("its schemaVersion is %d, not 2", versioned.SchemaVersion)
		}
	}
	return nil
}

// isHere reports whether a manifest is stored. One that is damaged counts: Get gets it again.
func (r *repository) isHere(ctx context.Context, d digest.Digest) (bool, error) {
	local, err := r.Repository.Manifests(ctx)
	if err == nil {
		_, err = local.Get(ctx, d)
	}
	switch {
	case isNotHere(err):
		return false, nil
	case errors.Is(err, extensions.ErrDamaged):
		return true, nil
	}
	return err == nil, here(err)
}

// mediaTypes are those of the manifests that are asked for: all that can be stored.
func mediaTypes() []string {
	types := []string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, schema2.MediaTypeManifest, manifestlist.MediaTypeManifestList}
	for _, mediaType := range distribution.ManifestMediaTypes() {
		if !slices.Contains(types, mediaType) && mediaType != "" && !isPushedBy(mediaType) {
			types = append(types, mediaType)
		}
	}
	return types
}

// put stores a manifest, before what it references is here.
func (r *repository) put(ctx context.Context, d digest.Digest, m distribution.Manifest) error {
	local, err := r.Repository.Manifests(extensions.Partial(ctx, d))
	if err == nil {
		_, err = local.Put(extensions.Partial(ctx, d), m)
	}
	if err != nil {
		return fmt.Errorf("storing manifest %s: %w", d, err)
	}
	return nil
}

// isPushedBy reports whether a media type stands for another one with a digest of another
// algorithm. Nothing is stored by it.
func isPushedBy(mediaType string) bool {
	_, suffix, _ := strings.Cut(mediaType, "+")
	return strings.Contains(suffix, digest.SHA512.String())
}
