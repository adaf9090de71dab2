package referrers

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// How the derived files are written: not before flushAfter, a file not more
// often than a quarter of a mebibyte a second, and what is waiting not larger than
// maxWaiting bytes: beyond that it is dropped, to be read again some day.
const (
	flushAfter = 2 * time.Second
	maxWaiting = 256 << 20
	flushSpeed = 1 << 18
)

// derivedWriter gathers what is worth writing to the derived files and writes it
// in the background, so that no request waits for it.
type derivedWriter struct {
	mu       sync.Mutex
	index    *Index
	manifest map[string]*delta
	listing  map[setKey]summary
	waiting  int // bytes
	resting  map[any]time.Time
	wake     chan struct{}
	stopped  chan struct{}
	once     sync.Once
}

// delta is what happened to the manifests of one repository.
type delta struct {
	pushed  map[digest.Digest]digest.Digest
	deleted map[digest.Digest]struct{}
}

func (w *derivedWriter) start(x *Index) {
	w.index = x
	w.manifest, w.listing, w.resting = map[string]*delta{}, map[setKey]summary{}, map[any]time.Time{}
	w.wake, w.stopped = make(chan struct{}, 1), make(chan struct{})
	if x.options.ReadOnly {
		return
	}
	x.work.Add(1)
	go func() {
		defer x.work.Done()
		timer := time.NewTimer(flushAfter)
		defer timer.Stop()
		for {
			select {
			case <-w.stopped:
				return
			case <-x.ctx.Done():
				return
			case <-w.wake:
			case <-timer.C:
			}
			w.flushDue()
			timer.Reset(flushAfter)
		}
	}()
}

// flushDue writes what may be written now. A storage that answers no more ends it.
func (w *derivedWriter) flushDue() {
	ctx, cancel := context.WithTimeout(w.index.ctx, stallTimeout)
	defer cancel()
	_ = w.flush(ctx, false) // the Observer has been told
}

func (w *derivedWriter) stop(ctx context.Context) error {
	w.once.Do(func() { close(w.stopped) })
	return w.flush(ctx, true)
}

// Flush writes what is known and not yet written to the derived files.
func (x *Index) Flush(ctx context.Context) error { return x.derived.flush(ctx, true) }

func (w *derivedWriter) pushed(repository string, manifest, subject digest.Digest) {
	w.change(repository, func(d *delta) {
		d.pushed[manifest] = subject
		delete(d.deleted, manifest)
	})
}

func (w *derivedWriter) deleted(repository string, manifest digest.Digest) {
	w.change(repository, func(d *delta) {
		delete(d.pushed, manifest)
		d.deleted[manifest] = struct{}{}
	})
}

func (w *derivedWriter) change(repository string, change func(*delta)) {
	const bytesEach = 256
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.index.options.ReadOnly || w.waiting > maxWaiting {
		return
	}
	d := w.manifest[repository]
	if d == nil {
		d = &delta{pushed: map[digest.Digest]digest.Digest{}, deleted: map[digest.Digest]struct{}{}}
		w.manifest[repository] = d
	}
	change(d)
	w.grow(bytesEach)
}

// listed notes what a listing had to read. It is noted as looked at too, so that
// the summary never has a manifest that the file of scanned revisions lacks.
func (w *derivedWriter) listed(key setKey, fresh summary) {
	for d := range fresh {
		w.pushed(key.repository, d, key.subject)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.index.options.ReadOnly || w.waiting > maxWaiting {
		return
	}
	if w.listing[key] == nil {
		w.listing[key] = summary{}
	}
	maps.Copy(w.listing[key], fresh)
	w.grow(fresh.size())
}

// grow counts what is waiting; the caller holds the lock.
func (w *derivedWriter) grow(size int) {
	if w.waiting += size; w.waiting > maxWaiting/8 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *derivedWriter) forget(repository string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.manifest, repository)
	maps.DeleteFunc(w.listing, func(key setKey, _ summary) bool { return key.repository == repository })
}

// merge adds to known what is waiting to be written.
func (w *derivedWriter) merge(repository string, known *revisions) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.manifest[repository]; d != nil {
		d.apply(known)
	}
}

func (d *delta) apply(known *revisions) {
	for manifest, subject := range d.pushed {
		known.add(manifest, subject)
	}
	for manifest := range d.deleted {
		delete(known.known, manifest)
	}
}

// flush writes what is waiting; unless all is asked for, only files that have
// not been written just now.
func (w *derivedWriter) flush(ctx context.Context, all bool) error {
	manifests, listings := w.takeDue(all)
	var (
		mu   sync.Mutex
		errs []error
	)
	group := new(errgroup.Group)
	group.SetLimit(4)
	do := func(repository string, write func() error) {
		group.Go(func() error {
			if err := write(); err != nil {
				w.index.options.Observer.Failed(repository, err)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	for repository, d := range manifests {
		do(repository, func() error {
			known, err := w.index.readRevisions(ctx, repository)
			if err != nil {
				return err
			}
			d.apply(known)
			w.rest(repository, len(known.known)*80)
			return w.index.writeRevisions(ctx, repository, known)
		})
	}
	_ = group.Wait()
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for key, fresh := range listings {
		do(key.repository, func() error {
			size := fresh.size()
			if set, ok := w.index.sets.GetIfPresent(key); ok {
				size += len(set.Referrers) * 1024
			}
			w.rest(key, size)
			return w.index.writeSummary(ctx, key, fresh)
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// takeDue takes out of what is waiting the part that may be written now.
func (w *derivedWriter) takeDue(all bool) (map[string]*delta, map[setKey]summary) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(w.resting, func(_ any, until time.Time) bool { return until.Before(now) })
	manifests, listings := map[string]*delta{}, map[setKey]summary{}
	for repository, d := range w.manifest {
		if _, rests := w.resting[repository]; all || !rests {
			manifests[repository] = d
			delete(w.manifest, repository)
		}
	}
	for key, fresh := range w.listing {
		if _, rests := w.resting[key]; all || !rests {
			listings[key] = fresh
			delete(w.listing, key)
			if d := w.manifest[key.repository]; d != nil { // it goes first
				manifests[key.repository] = d
				delete(w.manifest, key.repository)
			}
		}
	}
	if len(w.manifest)+len(w.listing) == 0 {
		w.waiting = 0
	}
	return manifests, listings
}

// rest keeps a file from being written again too soon.
func (w *derivedWriter) rest(file any, size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting[file] = time.Now().Add(time.Duration(size) * time.Second / flushSpeed)
}
