package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// verified waits until all bytes have been verified.
func (d *download) verified(ctx context.Context) error {
	_, err := d.await(ctx, d.desc.Size)
	return err
}

// await waits until more has arrived than there was, or nothing more does. At the end of the
// blob, it waits until all of it has been verified.
func (d *download) await(ctx context.Context, there int64) (arrived int64, err error) {
	for {
		d.mu.Lock()
		arrived, end, changed := d.arrived, d.end, d.changed
		d.mu.Unlock()
		switch {
		case arrived > there, errors.Is(end, io.EOF):
			return arrived, nil
		case end != nil:
			return arrived, fmt.Errorf("getting blob %s: %w", d.desc.Digest, end)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return arrived, ctx.Err()
		}
	}
}

// arriving reads a blob that is on its way here.
type arriving struct {
	*download
	ctx    context.Context
	offset int64
}

// Read implements io.Reader. It waits for what has not arrived.
func (a *arriving) Read(p []byte) (int, error) {
	if a.offset >= a.desc.Size {
		return 0, io.EOF
	}
	there, err := a.await(a.ctx, a.offset)
	if err != nil {
		return 0, err
	}
	n, err := a.file.ReadAt(p[:min(int64(len(p)), there-a.offset)], a.offset)
	a.offset += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (a *arriving) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += a.offset
	case io.SeekEnd:
		offset += a.desc.Size
	}
	if offset < 0 {
		return 0, errors.New("there is nothing before the beginning")
	}
	a.offset = offset
	return offset, nil
}

// Close implements io.Closer.
func (a *arriving) Close() error {
	a.use(-1)
	return nil
}

// holding holds the last byte of an answer back until it is known to be right. The answer has
// to have a Content-Length.
type holding struct {
	http.ResponseWriter
	until func() error
	holds bool  // it has bytes of the blob
	left  int64 // bytes of the answer
}

// WriteHeader implements http.ResponseWriter.
func (w *holding) WriteHeader(status int) {
	w.holds = status == http.StatusOK || status == http.StatusPartialContent
	w.left, _ = strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *holding) Write(p []byte) (written int, err error) {
	if before := w.left - 1; w.holds && int64(len(p)) > before {
		if before > 0 {
			written, err = w.ResponseWriter.Write(p[:before])
		}
		if err == nil {
			_ = http.NewResponseController(w.ResponseWriter).Flush() // which not everyone can
			err = w.until()
		}
		if err != nil {
			return written, err
		}
	}
	n, err := w.ResponseWriter.Write(p[written:])
	w.left -= int64(written + n)
	return written + n, err
}
