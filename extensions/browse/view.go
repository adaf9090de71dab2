package browse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/extensions"
)

// operationsPerPage is how many storage operations the making of a page may take. What is
// left out for that reason is said on the page.
const operationsPerPage = 100

// What reading takes at most, in storage operations: a link, the size of what it leads to
// (twice, for a blob), and the content.
const (
	costOfList     = 1
	costOfTag      = 1
	costOfTime     = 1
	costOfManifest = 3
	costOfBlob     = 4
)

// readsPerPage is how many storage operations one page has under way at once.
const readsPerPage = 8

// maxConfiguration is the size of the largest configuration of an image that is read.
const maxConfiguration = 1 << 20

// errBudget is returned for what is not read, because the page has cost enough.
var errBudget = errors.New("not read: the page would take too many storage operations")

// view is the making of one page.
type view struct {
	*site
	ctx       context.Context
	request   *http.Request
	target    extensions.Target
	content   distribution.Repository // nil if the page is not about one
	manifests distribution.ManifestService

	mu         sync.Mutex
	operations int // that may still be made
	text       int // bytes of text from manifests that may still be shown
}

func (s *site) newView(ctx context.Context, r *http.Request, target extensions.Target) (*view, error) {
	v := &view{site: s, ctx: ctx, request: r, target: target, operations: operationsPerPage, text: maxTexts}
	if target.Repository == nil {
		return v, nil
	}
	var err error
	if v.content, err = s.Namespace.Repository(ctx, target.Repository); err != nil {
		return nil, err
	}
	v.manifests, err = v.content.Manifests(ctx)
	return v, err
}

// name is the name of the repository.
func (v *view) name() string { return v.target.Repository.Name() }

// take takes so many storage operations from what the page may cost, if there are.
func (v *view) take(operations int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.operations < operations {
		return false
	}
	v.operations -= operations
	return true
}

// each calls do for each position of a list, for several at once.
func (v *view) each(length int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(readsPerPage)
	for i := range length {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait()
}

// reading waits until there is room for another manifest in memory.
func (v *view) reading() (release func(), err error) {
	select {
	case v.reads <- struct{}{}:
		return func() { <-v.reads }, nil
	case <-v.ctx.Done():
		return nil, context.Cause(v.ctx)
	}
}

// resolve is the digest that a reference stands for, with the tag if it is one.
func (v *view) resolve(reference string) (d digest.Digest, tag string, err error) {
	if d, err := digest.Parse(reference); err == nil {
		return d, "", nil
	}
	if !isTag(reference) {
		return "", "", errcode.ErrorCodeTagInvalid.WithDetail(map[string]string{"tag": reference})
	}
	v.take(costOfTag)
	desc, err := v.content.Tags(v.ctx).Get(v.ctx, reference)
	if errors.As(err, new(distribution.ErrTagUnknown)) {
		return "", "", errcode.ErrorCodeManifestUnknown.WithDetail(map[string]string{"tag": reference})
	}
	return desc.Digest, reference, err
}

// manifest reads a manifest of the repository.
func (v *view) manifest(d digest.Digest) (*document, error) {
	if !v.take(costOfManifest) {
		return nil, errBudget
	}
	var read *document
	err := v.payload(d, func(mediaType string, content []byte) error {
		read = parseDocument(mediaType, content)
		read.Digest = d
		return nil
	})
	return read, err
}

// payload hands the bytes of a manifest to use, which must not keep them.
func (v *view) payload(d digest.Digest, use func(mediaType string, content []byte) error) error {
	release, err := v.reading()
	if err != nil {
		return err
	}
	defer release()
	found, err := v.manifests.Get(v.ctx, d)
	if err != nil {
		return err
	}
	mediaType, content, err := found.Payload()
	if err != nil {
		return err
	}
	return use(mediaType, content)
}

// configuration reads the configuration of an image. It is nil, with a note for the page,
// if it cannot be shown.
func (v *view) configuration(m *document) (c *configuration, note string) {
	d := m.Config
	switch {
	case d == nil || !isConfiguration(d.MediaType):
		return nil, ""
	case d.Size > maxConfiguration:
		return nil, fmt.Sprintf("The configuration is not shown, because it is larger than %s.", formatSize(maxConfiguration))
	case !v.take(costOfBlob):
		return nil, "The configuration is not shown: " + errBudget.Error() + "."
	}
	content, err := v.blob(d.Digest, maxConfiguration)
	if err == nil {
		c, err = parseConfiguration(content)
	}
	if err != nil {
		return nil, "The configuration cannot be shown: " + v.plain(err) + "."
	}
	return c, ""
}

// blob reads a blob that has not more bytes than limit.
func (v *view) blob(d digest.Digest, limit int64) ([]byte, error) {
	release, err := v.reading()
	if err != nil {
		return nil, err
	}
	defer release()
	reader, err := v.content.Blobs(v.ctx).Open(v.ctx, d)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	content, err := io.ReadAll(io.LimitReader(reader, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it is larger than %s", formatSize(limit))
	}
	return content, err
}

// plain says of a part of a page why it could not be read, without what a storage driver
// says about the storage.
func (v *view) plain(err error) string {
	switch {
	case errors.Is(err, errBudget):
		return err.Error()
	case v.ctx.Err() != nil:
		return "the storage has not answered in time"
	case errors.As(err, new(distribution.ErrManifestUnknownRevision)), errors.Is(err, distribution.ErrBlobUnknown):
		return "it is not in the repository"
	case errors.As(err, new(notReady)):
		return "the repository is being indexed; reload the page in a moment"
	case errors.As(err, new(*formError)):
		return err.Error()
	}
	return "it cannot be read; the log of the registry says why"
}

// notReady is the error of a Lister for a repository that is not indexed yet.
type notReady interface{ Retry() time.Duration }

// explain turns the errors of distribution's services into those that its API answers.
func explain(err error) error {
	var repository distribution.ErrRepositoryUnknown
	var invalid distribution.ErrRepositoryNameInvalid
	switch {
	case errors.As(err, &repository):
		return errcode.ErrorCodeNameUnknown.WithDetail(map[string]string{"name": repository.Name})
	case errors.As(err, &invalid):
		return errcode.ErrorCodeNameInvalid.WithDetail(map[string]string{"name": invalid.Name})
	case errors.As(err, new(distribution.ErrManifestUnknownRevision)), errors.As(err, new(distribution.ErrManifestUnknown)):
		return errcode.ErrorCodeManifestUnknown
	case errors.Is(err, distribution.ErrBlobUnknown):
		return errcode.ErrorCodeBlobUnknown
	}
	return err
}
