package faultdriver

import (
	"context"
	"io"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// halfReader reads the first half of a file, and then an error.
func (d *Driver) halfReader(ctx context.Context, path string, offset int64, reader io.ReadCloser) (io.ReadCloser, error) {
	info, err := d.inner.Stat(ctx, path)
	if err != nil {
		_ = reader.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(reader, (info.Size()-offset)/2), failingReader{d.hidden(ErrInjected)}), reader}, nil
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// Writer implements storagedriver.StorageDriver.
func (d *Driver) Writer(ctx context.Context, path string, appending bool) (storagedriver.FileWriter, error) {
	var inner storagedriver.FileWriter
	err := d.do(ctx, "Writer", path, func() (err error) {
		inner, err = d.inner.Writer(ctx, path, appending)
		return err
	}, nil)
	if err != nil {
		if inner != nil {
			_ = inner.Close()
		}
		return nil, err
	}
	return &writer{FileWriter: inner, driver: d, ctx: ctx, path: path}, nil
}

// writer is a FileWriter whose calls are operations of its Driver.
type writer struct {
	storagedriver.FileWriter
	driver *Driver
	ctx    context.Context // that of the opening call, for calls that have none
	path   string
}

// Write implements io.Writer.
func (w *writer) Write(content []byte) (n int, err error) {
	write := func(content []byte) func() error {
		return func() (err error) {
			n, err = w.FileWriter.Write(content)
			return err
		}
	}
	err = w.driver.do(w.ctx, "Writer.Write", w.path, write(content), func(Fault) error {
		return write(content[:len(content)/2])()
	})
	return n, err
}

// Commit implements storagedriver.FileWriter.
func (w *writer) Commit(ctx context.Context) error {
	return w.driver.do(ctx, "Writer.Commit", w.path, func() error { return w.FileWriter.Commit(ctx) }, nil)
}

// Cancel implements storagedriver.FileWriter.
func (w *writer) Cancel(ctx context.Context) error {
	return w.driver.do(ctx, "Writer.Cancel", w.path, func() error { return w.FileWriter.Cancel(ctx) }, nil)
}

// Close implements io.Closer.
func (w *writer) Close() error {
	closed := false
	err := w.driver.do(w.ctx, "Writer.Close", w.path, func() error {
		closed = true
		return w.FileWriter.Close()
	}, nil)
	if !closed {
		_ = w.FileWriter.Close()
	}
	return err
}
