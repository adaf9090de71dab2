package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/ocischema"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/push"
	"github.com/oras-distribution/registry/internal/referrers"
)

// manifests is the manifest service of one repository.
type manifests struct {
	distribution.ManifestService
	ns         *Namespace
	repository *repository
	name       string
	options    []distribution.ManifestServiceOption
}

// Enumerate implements distribution.ManifestEnumerator.
func (m *manifests) Enumerate(ctx context.Context, ingester func(digest.Digest) error) error {
	enumerator, ok := m.ManifestService.(distribution.ManifestEnumerator)
	if !ok {
		return fmt.Errorf("the manifests of %s cannot be enumerated", m.name)
	}
	return enumerator.Enumerate(ctx, ingester)
}

// Get implements distribution.ManifestService. Distribution's own types come
// from distribution, because its handlers tell them apart by their Go types.
func (m *manifests) Get(ctx context.Context, d digest.Digest, options ...distribution.ManifestServiceOption) (distribution.Manifest, error) {
	if err := m.use(ctx, d); err != nil {
		return nil, err
	}
	found, err := m.read(ctx, d, options)
	if err == nil || errors.As(err, new(distribution.ErrManifestUnknownRevision)) || ctx.Err() != nil {
		return found, err
	}
	// What distribution does not recognize it reports as any other error.
	there, linkErr := m.ns.index.HasRevision(ctx, m.name, d)
	switch {
	case linkErr != nil:
		return nil, linkErr
	case !there:
		return nil, distribution.ErrManifestUnknownRevision{Name: m.name, Revision: d}
	}
	var artifact *Artifact
	readErr := m.ns.reader.Manifest(ctx, d, func(content []byte) error {
		parsed, parseErr := m.ns.options.Types.Parse(content)
		if parseErr != nil {
			return err
		}
		if _, ok := m.ns.options.Types.ExtraOf(parsed.MediaType); !ok {
			return err
		}
		artifact = &Artifact{mediaType: parsed.MediaType, content: slices.Clone(content), parsed: parsed}
		return nil
	})
	if readErr != nil {
		return nil, readErr
	}
	return artifact, nil
}

// read lets distribution read a manifest. It panics at a few that it cannot read.
func (m *manifests) read(ctx context.Context, d digest.Digest, options []distribution.ManifestServiceOption) (found distribution.Manifest, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading manifest %s: %v", d, p)
		}
	}()
	return m.ManifestService.Get(ctx, d, options...)
}

// Put implements distribution.ManifestService. When it returns without error,
// the manifest is stored and listed as a referrer of its subject.
func (m *manifests) Put(ctx context.Context, pushed distribution.Manifest, options ...distribution.ManifestServiceOption) (digest.Digest, error) {
	if artifact, ok := pushed.(*Artifact); ok {
		return m.putArtifact(ctx, artifact)
	}
	var problems manifest.Problems
	if !m.isPulled(ctx) {
		pushed, problems = m.ns.options.URLs.check(pushed)
	}
	content, err := ociContent(pushed)
	if err != nil {
		return "", err
	}
	subject, more := manifest.ParseSubject(content)
	if problems = append(problems, more...); len(problems) > 0 {
		return "", invalid(problems)
	}
	if subject != nil {
		return m.putReferrer(ctx, pushed, subject.Digest, options)
	}
	d, err := m.put(ctx, pushed, options)
	if err == nil {
		m.pushed(d, pushed, "")
	}
	return d, err
}

// pushed tells the index what has been pushed.
func (m *manifests) pushed(d digest.Digest, pushed distribution.Manifest, subject digest.Digest) {
	if mediaType, _, err := pushed.Payload(); err == nil {
		m.ns.index.Pushed(m.name, d, mediaType, subject)
	}
}

// ociContent is the bytes of a manifest that may have a subject, nil for others.
func ociContent(pushed distribution.Manifest) (content []byte, err error) {
	switch pushed.(type) {
	case *ocischema.DeserializedManifest, *ocischema.DeserializedImageIndex:
		_, content, err = pushed.Payload()
	}
	return content, err
}

// putReferrer lets distribution store a manifest, and links it to its subject.
func (m *manifests) putReferrer(ctx context.Context, pushed distribution.Manifest, subject digest.Digest,
	options []distribution.ManifestServiceOption,
) (digest.Digest, error) {
	d, err := m.put(ctx, pushed, options)
	if err != nil {
		return "", err
	}
	return d, m.link(ctx, d, pushed, subject)
}

// link links a stored manifest to its subject, and tells the handler that answers.
func (m *manifests) link(ctx context.Context, d digest.Digest, pushed distribution.Manifest, subject digest.Digest) error {
	err := m.ns.index.Add(ctx, m.name, subject, d)
	if deleted := (referrers.DeletedError{}); errors.As(err, &deleted) {
		return errcode.ErrorCodeUnavailable.WithDetail(deleted.Error())
	}
	if err != nil {
		return err
	}
	m.pushed(d, pushed, subject)
	push.From(ctx).Subject = subject
	return nil
}

func (m *manifests) putArtifact(ctx context.Context, a *Artifact) (digest.Digest, error) {
	kind, problems := m.kindOf(ctx, a)
	if len(problems) > 0 {
		return "", invalid(problems)
	}
	a.parsed, problems = kind.Parse(a.content)
	if a.parsed != nil {
		if err := m.useForPush(ctx, a.content); err != nil {
			return "", err
		}
		if err := m.replaceDamaged(ctx, a.content); err != nil {
			return "", err
		}
	}
	if a.parsed != nil && !m.isPulled(ctx) {
		missing, err := m.verify(ctx, a, kind)
		if err != nil {
			return "", err
		}
		problems = append(problems, missing...)
	}
	if len(problems) > 0 {
		return "", invalid(problems)
	}
	d := digestOf(ctx, a.content)
	if err := m.store(ctx, d, a.content); err != nil {
		return "", err
	}
	if a.parsed.Subject == nil {
		m.pushed(d, a, "")
		return d, nil
	}
	return d, m.link(ctx, d, a, a.parsed.Subject.Digest)
}

// isPulled reports whether a manifest was pulled from elsewhere, and not pushed: nothing
// is asked of it then but that it can be stored.
func (m *manifests) isPulled(ctx context.Context) bool {
	return m.ns.options.Proxy || push.PartialOf(ctx) != ""
}

// kindOf is the type of a manifest that is pushed, if the registry takes it.
func (m *manifests) kindOf(ctx context.Context, a *Artifact) (kind manifest.Type, problems manifest.Problems) {
	kind, known := m.ns.options.Types.ExtraOf(a.mediaType)
	key := m.ns.options.Disabled[a.mediaType]
	switch {
	case !known: // another registry in this process has registered it
		problems.Add("mediaType", "%s is not a type of manifests here", a.mediaType)
	case key != "" && !m.isPulled(ctx):
		problems.Add("mediaType", "%s is not accepted, because %s is false", a.mediaType, key)
	}
	return kind, problems
}

// verifyConcurrency is how many blobs of one manifest are looked up at once.
const verifyConcurrency = 16

// verify finds what an artifact manifest refers to and the repository does not
// have. An error means that the storage could not tell.
func (m *manifests) verify(ctx context.Context, a *Artifact, kind manifest.Type) (manifest.Problems, error) {
	var problems manifest.Problems
	if subject := a.parsed.Subject; subject != nil && kind.SubjectMustExist {
		there, err := m.ns.index.HasRevision(ctx, m.name, subject.Digest)
		if err != nil {
			return nil, err
		}
		if !there {
			problems.Add("subject", "%s is not a manifest in this repository", subject.Digest)
		}
	}
	stats, err := m.statReferences(ctx, a.parsed.References)
	if err != nil {
		return nil, err
	}
	for i, desc := range a.parsed.References {
		switch size, ok := stats[desc.Digest]; {
		case !ok:
			problems.AddMissing(a.parsed.Field(i), desc.Digest)
		case size != desc.Size:
			problems.Add(a.parsed.Field(i)+".size", "is %d, but the blob has %d bytes", desc.Size, size)
		}
	}
	return problems, nil
}

// statReferences returns the sizes of those of the blobs and manifests that are
// in the repository.
func (m *manifests) statReferences(ctx context.Context, list []v1.Descriptor) (map[digest.Digest]int64, error) {
	var mu sync.Mutex
	sizes := make(map[digest.Digest]int64, len(list))
	asked := make(map[digest.Digest]bool, len(list))
	blobs := m.repository.Blobs(ctx)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(verifyConcurrency)
	for _, desc := range list {
		if asked[desc.Digest] {
			continue
		}
		asked[desc.Digest] = true
		group.Go(func() error {
			stat, err := blobs.Stat(groupCtx, desc.Digest)
			if _, ok := m.ns.options.Types.Of(desc.MediaType); ok && errors.Is(err, distribution.ErrBlobUnknown) {
				stat.Size, err = m.statManifest(groupCtx, desc.Digest)
			}
			if errors.Is(err, distribution.ErrBlobUnknown) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("asking for blob %s in %s: %w", desc.Digest, m.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			sizes[desc.Digest] = stat.Size
			return nil
		})
	}
	return sizes, group.Wait()
}

// statManifest returns the size of a manifest, or ErrBlobUnknown if it is not in
// the repository.
func (m *manifests) statManifest(ctx context.Context, d digest.Digest) (int64, error) {
	there, err := m.ns.index.HasRevision(ctx, m.name, d)
	if err != nil {
		return 0, err
	}
	if !there {
		return 0, distribution.ErrBlobUnknown
	}
	info, err := m.ns.driver.Stat(ctx, layout.BlobData(d))
	switch {
	case layout.IsNotFound(err):
		return 0, distribution.ErrBlobUnknown
	case err != nil:
		return 0, err
	}
	return info.Size(), nil
}

// Delete implements distribution.ManifestService. The links to the subject go
// before the manifest.
func (m *manifests) Delete(ctx context.Context, d digest.Digest) error {
	if !m.ns.options.DeleteEnabled {
		return distribution.ErrUnsupported
	}
	if tags, ok := m.repository.Tags(ctx).(immutableTags); ok {
		if err := tags.checkDelete(ctx, d); err != nil {
			return err
		}
	}
	subject, err := m.subjectOf(ctx, d)
	if err != nil {
		return fmt.Errorf("deleting a manifest of %s: %w", m.name, err)
	}
	err = m.ns.index.Delete(ctx, m.name, d, subject, func() error { return m.deleteRevision(ctx, d) })
	if err != nil && !errors.Is(err, distribution.ErrBlobUnknown) && !errors.Is(err, distribution.ErrUnsupported) {
		// Distribution's handler answers 500 and does not say why.
		logrus.WithFields(logrus.Fields{"vars.name": m.name, "vars.reference": d}).Errorf("deleting a manifest: %v", err)
	}
	return err
}

// subjectOf is the subject that a stored manifest names, empty if it names none or
// cannot be read.
func (m *manifests) subjectOf(ctx context.Context, d digest.Digest) (subject digest.Digest, err error) {
	err = m.ns.reader.Manifest(ctx, d, func(content []byte) error {
		if parsed, err := m.ns.options.Types.Describe(content); err == nil && parsed.Subject != nil {
			subject = parsed.Subject.Digest
		}
		return nil
	})
	if layout.IsBroken(err) {
		err = nil
	}
	return subject, err
}

// deleteAttempts is how often a delete is tried that another replica gets in the
// way of, by deleting and pushing the same manifest.
const deleteAttempts = 3

// deleteRevision lets distribution delete a manifest. One that another replica
// has deleted is unknown, though a descriptor cache may still know it and the
// storage driver report it in its own way. The other way round, distribution deletes
// nothing that a shared cache has just forgotten, and calls it unknown.
func (m *manifests) deleteRevision(ctx context.Context, d digest.Digest) error {
	var err error
	for range deleteAttempts {
		err = m.ManifestService.Delete(ctx, d)
		switch {
		case err == nil || errors.Is(err, distribution.ErrUnsupported):
			return err
		case layout.IsNotFound(err):
			return distribution.ErrBlobUnknown
		}
		there, statErr := m.ns.index.HasRevision(ctx, m.name, d)
		if statErr != nil {
			return err
		}
		if !there {
			return distribution.ErrBlobUnknown
		}
	}
	if errors.Is(err, distribution.ErrBlobUnknown) {
		return errors.New("the descriptor cache does not know a manifest that is there")
	}
	return err
}

// maxReported is how many problems of one manifest are reported.
const maxReported = 100

func invalid(problems manifest.Problems) error {
	problems = problems.Distinct()
	code := errcode.ErrorCodeManifestInvalid
	if problems.OnlyMissing() {
		code = errcode.ErrorCodeManifestBlobUnknown
	}
	if len(problems) > maxReported {
		problems = append(problems[:maxReported:maxReported], manifest.Problem{
			Reason: fmt.Sprintf("and %d more problems", len(problems)-maxReported),
		})
	}
	return code.WithDetail([]manifest.Problem(problems))
}
