//go:build !race

package collection_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	gopath "path"
	"slices"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// port is the storage as one process sees it: a driver whose every operation waits for the
// scheduler.
type port struct {
	s       *scheduler
	name    string
	inner   storagedriver.StorageDriver
	patient bool // does not heed the end of contexts, as the filesystem driver
	ctx     context.Context
	cancel  context.CancelFunc
	killed  bool          // guarded by s.mu
	paused  time.Duration // until then nothing happens
}

// newPort makes the port of a process.
func (w *world) newPort(name string) *port {
	p := &port{s: w.s, name: name, inner: w.driver, patient: w.s.rng.IntN(2) == 0}
	p.ctx, p.cancel = context.WithCancel(as(w.ctx, name))
	w.ports = append(w.ports, p)
	return p
}

func (p *port) isKilled() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.killed
}

// do waits until an operation has taken effect and has been answered.
func do[T any](ctx context.Context, p *port, kind, path string, apply func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	// Nothing depends on derived files.
	if strings.Contains(path, "/_refs/derived") {
		return apply()
	}
	actor, ok := ctx.Value(actorKey{}).(string)
	if !ok {
		actor = p.name
	}
	var result outcome
	op := &operation{port: p, actor: actor, kind: kind, path: path}
	op.apply = func() { result.value, result.err = apply() }
	var none T
	if !p.s.submit(op) {
		return none, errKilled
	}
	ended := ctx.Done()
	if p.patient {
		ended = nil
	}
	select {
	case <-op.answered:
		if op.failure != nil {
			return none, op.failure
		}
		return result.value, result.err
	case <-ended:
		return none, ctx.Err()
	}
}

// done is do for an operation that returns nothing.
func done(ctx context.Context, p *port, kind, path string, apply func() error) error {
	_, err := do(ctx, p, kind, path, func() (struct{}, error) { return struct{}{}, apply() })
	return err
}

// effective is the context of what takes effect although nobody may wait for it.
func effective(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func (p *port) Name() string { return p.inner.Name() }

func (p *port) GetContent(ctx context.Context, path string) ([]byte, error) {
	return do(ctx, p, "get", path, func() ([]byte, error) { return p.inner.GetContent(effective(ctx), path) })
}

func (p *port) PutContent(ctx context.Context, path string, content []byte) error {
	content = bytes.Clone(content)
	return done(ctx, p, "put", path, func() error { return p.inner.PutContent(effective(ctx), path, content) })
}

func (p *port) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	return do(ctx, p, "read", path, func() (io.ReadCloser, error) {
		reader, err := p.inner.Reader(effective(ctx), path, offset)
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(reader)
		return io.NopCloser(bytes.NewReader(content)), err
	})
}

func (p *port) Writer(ctx context.Context, path string, appending bool) (storagedriver.FileWriter, error) {
	inner, err := do(ctx, p, "writer", path, func() (storagedriver.FileWriter, error) { return p.inner.Writer(effective(ctx), path, appending) })
	if err != nil {
		return nil, err
	}
	return &portWriter{FileWriter: inner, p: p, ctx: ctx, path: path}, nil
}

func (p *port) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	return do(ctx, p, "stat", path, func() (storagedriver.FileInfo, error) { return p.inner.Stat(effective(ctx), path) })
}

func (p *port) List(ctx context.Context, path string) ([]string, error) {
	return do(ctx, p, "list", path, func() ([]string, error) {
		list, err := p.inner.List(effective(ctx), path)
		slices.SortFunc(list, func(a, b string) int {
			a, b = gopath.Base(a), gopath.Base(b)
			return strings.Compare(cmp.Or(p.s.names[a], a), cmp.Or(p.s.names[b], b))
		})
		return list, err
	})
}

func (p *port) Move(ctx context.Context, from, to string) error {
	return done(ctx, p, "move", to, func() error { return p.inner.Move(effective(ctx), from, to) })
}

func (p *port) Delete(ctx context.Context, path string) error {
	return done(ctx, p, "delete", path, func() error { return p.inner.Delete(effective(ctx), path) })
}

func (p *port) RedirectURL(*http.Request, string) (string, error) { return "", nil }

func (p *port) Walk(ctx context.Context, path string, f storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	return storagedriver.WalkFallback(ctx, p, path, f, options...)
}

// portWriter is an upload.
type portWriter struct {
	storagedriver.FileWriter
	p    *port
	ctx  context.Context
	path string
}

func (w *portWriter) Commit(ctx context.Context) error {
	return done(ctx, w.p, "commit", w.path, func() error { return w.FileWriter.Commit(effective(ctx)) })
}

func (w *portWriter) Close() error {
	return done(context.WithoutCancel(w.ctx), w.p, "close", w.path, w.FileWriter.Close)
}

func (w *portWriter) Cancel(ctx context.Context) error {
	return done(ctx, w.p, "cancel", w.path, func() error { return w.FileWriter.Cancel(effective(ctx)) })
}
