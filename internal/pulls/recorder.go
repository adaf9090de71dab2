package pulls

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/retention"
)

const (
	// maxRemembered is how many records of this process are remembered, twice.
	maxRemembered = 1 << 16
	// maxWaiting is how many pulls wait to be recorded. More are recorded when the manifest
	// is pulled again.
	maxWaiting = 1 << 12
	// writers is how many records are written at once.
	writers = 4
	// patience is how long writing one may take.
	patience = 30 * time.Second
	// quiet is how long failures are not reported after one.
	quiet = time.Minute
)

// Recorder records pulls in the background. Its methods may be called from many goroutines.
type Recorder struct {
	records Records
	rules   *retention.Rules
	failed  func(error)
	waiting chan pull
	memory  memory

	mu       sync.Mutex
	closed   bool
	reported time.Time
	lost     int // since then

	work   sync.WaitGroup
	beats  sync.WaitGroup
	cancel context.CancelFunc
}

// pull is one that is to be recorded.
type pull struct {
	repository string
	digest     digest.Digest
	at         time.Time
}

// NewRecorder makes a Recorder for the rules that ask for pulls. If none does, it returns
// nil, which records nothing. It tells failed, at most once in a minute, about pulls that
// could not be recorded.
func NewRecorder(driver storagedriver.StorageDriver, rules *retention.Rules, failed func(error)) *Recorder {
	if len(rules.RecordingPulls()) == 0 {
		return nil
	}
	return &Recorder{records: Open(driver), rules: rules, failed: failed, waiting: make(chan pull, maxWaiting)}
}

// Start starts the work in the background.
func (r *Recorder) Start() {
	if r == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	for range writers {
		r.work.Go(func() {
			for p := range r.waiting {
				r.write(ctx, p)
			}
		})
	}
	for _, rule := range r.rules.RecordingPulls() {
		r.beats.Go(func() { r.goOn(ctx, rule) })
	}
}

// Close writes what waits to be recorded, until ctx ends: then operations that hang are
// abandoned.
func (r *Recorder) Close(ctx context.Context) {
	if r == nil {
		return
	}
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed || r.cancel == nil {
		return
	}
	close(r.waiting)
	written, ended := make(chan struct{}), make(chan struct{})
	go func() {
		r.work.Wait()
		close(written)
		r.beats.Wait()
		close(ended)
	}()
	select {
	case <-written:
	case <-ctx.Done():
	}
	r.cancel()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Pulled says that a client has pulled a manifest. It does not wait for anything.
func (r *Recorder) Pulled(repository string, d digest.Digest) {
	if r == nil {
		return
	}
	rule := r.rules.For(repository)
	if !rule.DecidesManifests() {
		return
	}
	p := pull{repository, d, time.Now()}
	if !r.memory.add(p, rule.Inexact()) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	select {
	case r.waiting <- p:
	default:
		r.memory.remove(p)
		r.failLocked(errors.New("the storage is too slow for them"))
	}
}

func (r *Recorder) write(ctx context.Context, p pull) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.records.record(ctx, p.repository, p.digest, p.at); err != nil {
		r.memory.remove(p)
		r.fail(err)
	}
}

// goOn says again and again that pulls are recorded, until ctx ends.
func (r *Recorder) goOn(ctx context.Context, rule *retention.Rule) {
	for ctx.Err() == nil {
		beat, cancel := context.WithTimeout(ctx, patience)
		err := r.records.goOn(beat, rule, time.Now())
		cancel()
		if err != nil && ctx.Err() == nil {
			r.fail(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(rule.Inexact() / 4):
		}
	}
}

func (r *Recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failLocked(err)
}

func (r *Recorder) failLocked(err error) {
	r.lost++
	if now := time.Now(); now.Sub(r.reported) >= quiet {
		r.failed(fmt.Errorf("%d pulls could not be recorded: %w", r.lost, err))
		r.reported, r.lost = now, 0
	}
}
