//go:build !race

package collection_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/cache/memory"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/referrers"
)

// process is a registry that serves.
type process struct {
	port      *port
	replica   *collection.Replica
	index     *referrers.Index
	namespace *namespace.Namespace
	started   chan struct{}
	closed    atomic.Bool
}

// startProcess starts a registry, as package registry does.
func (w *world) startProcess(name string) (*process, error) {
	p := &process{port: w.newPort(name), started: make(chan struct{})}
	options := []storage.RegistryOption{storage.EnableDelete}
	if w.cached {
		options = append(options, storage.BlobDescriptorCacheProvider(memory.NewInMemoryBlobDescriptorCacheProvider(memory.UnlimitedSize)))
	}
	inner, err := storage.NewRegistry(p.port.ctx, p.port, options...)
	if err != nil {
		return nil, err
	}
	p.replica = collection.NewSmallReplica(p.port, collection.Options{Pace: collection.Pace(pace), Clock: w.s.now})
	p.index = referrers.New(p.port, referrers.Options{CacheSize: 1 << 16})
	p.namespace = namespace.New(inner, p.port, p.index, namespace.Options{Types: manifest.NewTypes(), DeleteEnabled: true})
	go func() {
		defer close(p.started)
		_ = p.replica.Start(p.port.ctx) // it is tried again
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes = append(w.processes, p)
	w.all = append(w.all, p)
	return p, nil
}

// isOver reports whether a process serves no more.
func (p *process) isOver() bool { return p.closed.Load() || p.port.isKilled() }

// close ends a process that serves nobody any more.
func (p *process) close(ctx context.Context) error {
	p.closed.Store(true)
	<-p.started
	return errors.Join(p.replica.Close(ctx), p.index.Close(ctx))
}

// promise is what the process promises with an answer: nothing without a lease.
func (p *process) promise(now time.Duration) *promise {
	if !p.replica.IsValid() {
		return &promise{process: p}
	}
	return &promise{process: p, gaps: p.replica.Gaps(), until: now + time.Hour - time.Minute}
}

// request sends a request to a process: what it does in its section, to the beginning of
// the answer.
func (p *process) request(actor string, section *collection.Section, do func(context.Context) error) error {
	err := do(collection.With(as(p.port.ctx, actor), section))
	endErr := section.End()
	switch {
	case p.isOver():
		return errKilled
	case endErr != nil: // whatever the answer was going to be
		return endErr
	}
	return err
}

// isTemporary reports whether a request can be sent again.
func isTemporary(err error) bool {
	var coded errcode.Error
	return errors.As(err, new(collection.UnavailableError)) || errors.Is(err, errKilled) ||
		errors.As(err, &coded) && coded.Code == errcode.ErrorCodeUnavailable
}

// collectorPrefix begins the names of collectors.
const collectorPrefix = "collector"

// collect runs the collector once, in a process of its own.
func (w *world) collect(p *port, options collection.RunOptions) (collection.Result, error) {
	result, err := collection.Collect(p.ctx, p, options)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removed += int(result.Blobs.Removed + result.Manifests.Removed)
	w.rescued += result.Rescued
	return result, err
}

func (w *world) runOptions(batch int) collection.RunOptions {
	options := collection.RunOptions{
		Options: collection.Options{Pace: collection.Pace(pace), Clock: w.s.now},
		Garbage: gc.Options{Untagged: w.untagged, Concurrency: 1, Reach: manifest.NewTypes().Reach},
	}
	return options.WithBatches(batch)
}

// world is all of one schedule.
type world struct {
	s        *scheduler
	ctx      context.Context
	driver   storagedriver.StorageDriver
	ledger   *ledger
	untagged bool // manifests without tags are garbage
	cached   bool // replicas have descriptor caches

	disturbed bool // something was killed or stopped
	crashes   int
	actors    sync.WaitGroup // all that were started

	mu        sync.Mutex
	processes []*process // that clients may talk to
	all       []*process
	ports     []*port
	removed   int
	rescued   int
}

// closeAll ends all processes.
func (w *world) closeAll() error {
	return w.do(func() {
		for _, p := range w.all {
			if !p.isOver() {
				if err := p.close(w.ctx); err != nil {
					w.ledger.fail("closing %s: %w", p.port.name, err)
				}
			}
		}
	})
}

// abort ends what is still under way after a failure.
func (w *world) abort() {
	w.s.abort()
	for _, p := range w.ports {
		p.cancel()
	}
	w.actors.Wait()
	for _, p := range w.all {
		if !p.closed.Load() {
			_ = p.close(w.ctx)
		}
	}
}
