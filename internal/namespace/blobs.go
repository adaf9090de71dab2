package namespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/push"
)

// blobs is the blob store of one repository. Distribution stores every blob under
// its canonical digest. If a client pushes it by a digest of another algorithm, it
// also writes an alias, a layer link that contains the canonical digest, and
// answers with the canonical digest from then on. This store answers with the digest
// that the client has asked for.
type blobs struct {
	distribution.BlobStore
	repository *repository
}

// Blobs implements distribution.Repository.
func (r *repository) Blobs(ctx context.Context) distribution.BlobStore {
	return &blobs{BlobStore: r.Repository.Blobs(ctx), repository: r}
}

// afterwards is how long distribution may ask about a blob that it has served. It does so for a
// notification, and also when the client has left: a storage that hangs would keep the request.
const afterwards = 3 * time.Second

// Stat implements distribution.BlobStatter.
func (b *blobs) Stat(ctx context.Context, d digest.Digest) (v1.Descriptor, error) {
	if ctx.Done() == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, afterwards)
		defer cancel()
	}
	if err := b.use(ctx, d); err != nil {
		return v1.Descriptor{}, err
	}
	return named(d)(b.BlobStore.Stat(ctx, d))
}

// named gives a descriptor the digest that the client has asked for.
func named(d digest.Digest) func(v1.Descriptor, error) (v1.Descriptor, error) {
	return func(desc v1.Descriptor, err error) (v1.Descriptor, error) {
		if err == nil {
			desc.Digest = d
		}
		return desc, err
	}
}

// Get implements distribution.BlobProvider.
func (b *blobs) Get(ctx context.Context, d digest.Digest) ([]byte, error) {
	if err := b.use(ctx, d); err != nil {
		return nil, err
	}
	return b.BlobStore.Get(ctx, d)
}

// Open implements distribution.BlobProvider.
func (b *blobs) Open(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	if err := b.use(ctx, d); err != nil {
		return nil, err
	}
	return b.BlobStore.Open(ctx, d)
}

// blobMaxAge is how long clients may cache a blob: as long as distribution says.
const blobMaxAge = 365 * 24 * time.Hour

// ServeBlob implements distribution.BlobServer. HEAD is answered here, because
// distribution redirects it to object stores, whose answers have no digest.
func (b *blobs) ServeBlob(ctx context.Context, w http.ResponseWriter, r *http.Request, d digest.Digest) error {
	if err := b.use(ctx, d); err != nil {
		return err
	}
	const digestHeader = "Docker-Content-Digest"
	header := w.Header()
	if r.Method != http.MethodHead {
		header.Set(digestHeader, d.String()) // distribution keeps it
		err := b.BlobStore.ServeBlob(ctx, w, r, d)
		if err != nil {
			header.Del(digestHeader)
		}
		return err
	}
	stored, err := b.BlobStore.Stat(ctx, d)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		digestHeader:     d.String(),
		"Content-Type":   stored.MediaType,
		"Content-Length": strconv.FormatInt(stored.Size, 10),
		"ETag":           strconv.Quote(stored.Digest.String()), // as with GET
		"Cache-Control":  fmt.Sprintf("max-age=%.f", blobMaxAge.Seconds()),
	} {
		header.Set(name, value)
	}
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(strings.NewReader(""), 0, stored.Size))
	return nil
}

// Create implements distribution.BlobIngester.
func (b *blobs) Create(ctx context.Context, options ...distribution.BlobCreateOption) (distribution.BlobWriter, error) {
	var opts distribution.CreateOptions
	for _, option := range options {
		if err := option.Apply(&opts); err != nil {
			return nil, err
		}
	}
	if opts.Mount.ShouldMount {
		err := b.useForMount(ctx, opts.Mount.From)
		switch {
		case errors.Is(err, distribution.ErrBlobUnknown):
			opts.Mount.ShouldMount, options = false, nil // it has to be uploaded
		case err != nil:
			return nil, err
		}
	}
	if from := opts.Mount.From; opts.Mount.ShouldMount && from.Digest().Algorithm() != digest.Canonical {
		desc, err := b.mount(ctx, from)
		if err == nil {
			return nil, distribution.ErrBlobMounted{From: from, Descriptor: desc}
		}
		options = nil // as in distribution: what cannot be mounted has to be uploaded
	}
	w, err := b.BlobStore.Create(ctx, options...)
	return b.writing(ctx, w), err
}

// useForMount says that a blob of another repository is about to be in this one as well.
func (b *blobs) useForMount(ctx context.Context, from reference.Canonical) error {
	if err := b.repository.namespace.useBlob(ctx, reference.TrimNamed(from).Name(), from.Digest()); err != nil {
		return err
	}
	return collection.From(ctx).Write(ctx, b.repository.Named().Name(), from.Digest())
}

// mount mounts the blob that an alias of another repository stands for, and then
// writes the alias: distribution would write a link to the digest that was asked for,
// under which nothing is stored.
func (b *blobs) mount(ctx context.Context, from reference.Canonical) (v1.Descriptor, error) {
	source, err := b.repository.namespace.Namespace.Repository(ctx, reference.TrimNamed(from))
	if err != nil {
		return v1.Descriptor{}, err
	}
	stored, err := source.Blobs(ctx).Stat(ctx, from.Digest())
	if err != nil {
		return v1.Descriptor{}, err
	}
	canonical, err := reference.WithDigest(reference.TrimNamed(from), stored.Digest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	name := b.repository.Named().Name()
	if err := collection.From(ctx).Write(ctx, name, stored.Digest); err != nil {
		return v1.Descriptor{}, err
	}
	// The source may no longer have the blob by its canonical digest: it need not be
	// asked again.
	w, err := b.BlobStore.Create(ctx, storage.WithMountFrom(canonical), mountOption{&stored})
	mounted := distribution.ErrBlobMounted{}
	if !errors.As(err, &mounted) {
		if err == nil {
			err = errors.Join(distribution.ErrBlobUnknown, w.Cancel(ctx))
		}
		return v1.Descriptor{}, err
	}
	if collection.From(ctx) != nil { // the source may have lost it before it was used by this digest
		if err := b.stillThere(ctx, stored.Digest); err != nil {
			return v1.Descriptor{}, err
		}
	}
	if err := b.repository.namespace.driver.PutContent(ctx, layout.LayerLink(name, from.Digest()), []byte(stored.Digest)); err != nil {
		return v1.Descriptor{}, fmt.Errorf("linking blob %s in %s: %w", from.Digest(), name, err)
	}
	return named(from.Digest())(mounted.Descriptor, nil)
}

// mountOption says what the blob to be mounted is.
type mountOption struct{ stat *v1.Descriptor }

// Apply implements distribution.BlobCreateOption.
func (o mountOption) Apply(options any) error {
	if options, ok := options.(*distribution.CreateOptions); ok {
		options.Mount.Stat = o.stat
	}
	return nil
}

// Put implements distribution.BlobIngester.
func (b *blobs) Put(ctx context.Context, mediaType string, content []byte) (v1.Descriptor, error) {
	section, name, d := collection.From(ctx), b.repository.Named().Name(), digest.FromBytes(content)
	if err := section.Write(ctx, name, d); err != nil {
		return v1.Descriptor{}, err
	}
	desc, err := b.BlobStore.Put(ctx, mediaType, content)
	if err == nil && section.Suspect(name, d) {
		err = b.stillThere(ctx, d)
	}
	return desc, err
}

// Resume implements distribution.BlobIngester.
func (b *blobs) Resume(ctx context.Context, id string) (distribution.BlobWriter, error) {
	w, err := b.BlobStore.Resume(ctx, id)
	return b.writing(ctx, w), err
}

// blobWriter is an upload.
type blobWriter struct {
	distribution.BlobWriter
	ctx   context.Context // of the request, which ends with the writer
	blobs *blobs
	// How it ended: Commit was called, and maybe refused the bytes; or Cancel was.
	committed, refused, cancelled bool
}

func (b *blobs) writing(ctx context.Context, w distribution.BlobWriter) distribution.BlobWriter {
	if w == nil {
		return nil
	}
	return &blobWriter{BlobWriter: w, ctx: ctx, blobs: b}
}

// Commit implements distribution.BlobWriter.
func (w *blobWriter) Commit(ctx context.Context, provisional v1.Descriptor) (v1.Descriptor, error) {
	w.committed = true
	section, name := collection.From(ctx), w.blobs.repository.Named().Name()
	if err := section.Write(ctx, name, provisional.Digest); err != nil {
		return v1.Descriptor{}, err
	}
	desc, err := w.BlobWriter.Commit(ctx, provisional)
	w.refused = errors.As(err, new(distribution.ErrBlobInvalidDigest)) || errors.Is(err, distribution.ErrBlobInvalidLength)
	if err == nil && desc.Digest != provisional.Digest && section != nil {
		// Only now it is known which digest the bytes are stored by, and that they were
		// there before may have been the reason not to write them.
		if err = section.Write(ctx, name, desc.Digest); err == nil {
			err = w.blobs.stillThere(ctx, desc.Digest)
		}
	}
	return named(provisional.Digest)(desc, err)
}

// Cancel implements distribution.BlobWriter. Distribution cancels an upload whose bytes do
// not have its digest, too, but then cannot remove them, because their file is closed.
func (w *blobWriter) Cancel(ctx context.Context) error {
	if !w.refused {
		err := w.BlobWriter.Cancel(ctx)
		w.cancelled = err == nil
		return err
	}
	return layout.Remove(ctx, w.blobs.repository.namespace.driver, layout.Upload(w.blobs.repository.Named().Name(), w.ID()))
}

// Close implements distribution.BlobWriter. It would store the state of the digest of an
// upload once more whose file is gone. One that nobody can continue is cancelled.
func (w *blobWriter) Close() error {
	switch {
	case w.refused || w.cancelled:
		return nil
	case push.IsWhole(w.ctx) && !w.committed:
		return w.Cancel(context.WithoutCancel(w.ctx))
	}
	return w.BlobWriter.Close()
}
