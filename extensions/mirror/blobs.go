package mirror

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobs is a blob store that gets what is not here from the origin.
type blobs struct {
	distribution.BlobStore
	repository *repository
	served     v1.Descriptor // from a download; distribution asks once more for it, for a notification
}

// Create implements distribution.BlobIngester: what a mirror has comes from its origin.
func (b *blobs) Create(context.Context, ...distribution.BlobCreateOption) (distribution.BlobWriter, error) {
	return nil, distribution.ErrUnsupported
}

// Resume implements distribution.BlobIngester.
func (b *blobs) Resume(context.Context, string) (distribution.BlobWriter, error) {
	return nil, distribution.ErrUnsupported
}

// Put implements distribution.BlobIngester.
func (b *blobs) Put(context.Context, string, []byte) (v1.Descriptor, error) {
	return v1.Descriptor{}, distribution.ErrUnsupported
}

// Stat implements distribution.BlobStatter. It begins to get the blob, unless the client
// only wants to know of it.
func (b *blobs) Stat(ctx context.Context, d digest.Digest) (v1.Descriptor, error) {
	if d == b.served.Digest {
		return b.served, nil
	}
	local, err := b.BlobStore.Stat(ctx, d)
	if !isNotHere(err) {
		if err == nil {
			b.repository.origin.meter.hits.Inc()
		}
		return local, err
	}
	if method, _ := ctx.Value("http.request.method").(string); method == http.MethodHead {
		return b.ask(ctx, d)
	}
	download, err := b.download(ctx, d)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer download.use(-1)
	return download.desc, nil
}

// ask asks the origin whether it has a blob.
func (b *blobs) ask(ctx context.Context, d digest.Digest) (v1.Descriptor, error) {
	r := b.repository
	name := r.origin.repository + "@" + d.String()
	if r.store.isAbsent(name) {
		return v1.Descriptor{}, distribution.ErrBlobUnknown
	}
	desc, err := shared(ctx, r.store, r.origin, "head "+name, func(ctx context.Context) (v1.Descriptor, error) { return r.origin.blob(ctx, d) })
	return desc, b.outcome(ctx, name, err)
}

// outcome is what a client is told after the origin was asked for a blob.
func (b *blobs) outcome(ctx context.Context, name string, err error) error {
	switch {
	case isAbsent(err):
		b.repository.store.setAbsent(b.repository.origin, name)
		return distribution.ErrBlobUnknown
	case err != nil:
		return b.repository.failure(ctx, err)
	}
	return nil
}

// Get implements distribution.BlobProvider.
func (b *blobs) Get(ctx context.Context, d digest.Digest) ([]byte, error) {
	r, err := b.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Open implements distribution.BlobProvider.
func (b *blobs) Open(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	local, err := b.BlobStore.Open(ctx, d)
	if !isNotHere(err) {
		return local, err
	}
	download, err := b.download(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := download.verified(ctx); err != nil {
		download.use(-1)
		return nil, b.repository.failure(ctx, err)
	}
	return &arriving{download: download, ctx: ctx}, nil
}

// blobMaxAge is how long clients may cache a blob: as long as distribution says.
const blobMaxAge = 365 * 24 * time.Hour

// ServeBlob implements distribution.BlobServer. What is on its way here is served as it
// arrives.
func (b *blobs) ServeBlob(ctx context.Context, w http.ResponseWriter, r *http.Request, d digest.Digest) error {
	err := b.BlobStore.ServeBlob(ctx, w, r, d)
	if !isNotHere(err) {
		return err
	}
	header := w.Header()
	header.Set("Docker-Content-Digest", d.String())
	header.Set("Content-Type", "application/octet-stream")
	header.Set("ETag", strconv.Quote(d.String()))
	header.Set("Cache-Control", "max-age="+strconv.Itoa(int(blobMaxAge.Seconds())))
	if r.Method == http.MethodHead {
		desc, err := b.ask(ctx, d)
		if err != nil {
			return err
		}
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(nothing{}, 0, desc.Size))
		return nil
	}
	download, err := b.download(ctx, d)
	if err != nil {
		return err
	}
	content := &arriving{download: download, ctx: ctx}
	defer content.use(-1)
	b.served = download.desc
	held := &holding{ResponseWriter: w, until: func() error { return download.verified(ctx) }}
	http.ServeContent(held, r, "", time.Time{}, content) // where bytes are missing, the server breaks the answer off
	return nil
}

// nothing is what is read for an answer without a body.
type nothing struct{}

// ReadAt implements io.ReaderAt.
func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
