package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

// download is one blob on its way here. All who ask for it read from a temporary file what
// has arrived. Nobody gets the end of an answer before all bytes have been verified.
type download struct {
	desc   v1.Descriptor
	file   *os.File // has no name any more
	cancel context.CancelFunc

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	arrived int64
	end     error // why nothing more arrives; io.EOF: all of it has been verified
	users   int   // of the file; the last one closes it
}

// downloads is the blobs that are on their way here.
type downloads struct {
	mu      sync.Mutex
	running map[string]*download
	closed  bool // nothing is begun any more
	all     sync.WaitGroup
}

// join returns the download with a name, and makes the caller one of its users.
func (s *downloads) join(name string) *download {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.running[name]
	if d != nil {
		d.use(1)
	}
	return d
}

// add adds a download unless the registry shuts down.
func (s *downloads) add(name string, d *download) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("this registry shuts down")
	}
	if s.running == nil {
		s.running = map[string]*download{}
	}
	s.running[name] = d
	s.all.Add(1)
	return nil
}

func (s *downloads) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, name)
	s.all.Done()
}

// close waits for what is running, and cancels it when ctx ends.
func (s *downloads) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := len(s.running)
	for _, d := range s.running {
		d.cancel()
	}
	s.mu.Unlock()
	<-ended
	return fmt.Errorf("%d blobs were still on their way here", left)
}

// download joins the download of a blob, or begins it. The caller has to leave it.
func (b *blobs) download(ctx context.Context, d digest.Digest) (*download, error) {
	r := b.repository
	name := r.origin.repository + "@" + d.String()
	for {
		if r.store.isAbsent(name) {
			return nil, distribution.ErrBlobUnknown
		}
		if joined := r.store.downloads.join(name); joined != nil {
			return joined, nil
		}
		begun, err := shared(ctx, r.store, r.origin, "get "+name, func(ctx context.Context) (*download, error) { return b.begin(ctx, name, d) })
		if err = b.outcome(ctx, name, err); err != nil {
			return nil, err
		}
		if begun.tryUse() {
			return begun, nil
		}
	}
}

// begin asks the origin for a blob.
func (b *blobs) begin(ctx context.Context, name string, d digest.Digest) (*download, error) {
	o := b.repository.origin
	waiting, cancelWait := context.WithTimeout(ctx, o.answering)
	defer cancelWait()
	if err := o.downloading.Acquire(waiting, 1); err != nil {
		return nil, fmt.Errorf("%d blobs are on their way already: %w", maxDownloads, err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it goes on when all who ask have their answers
	fail := func(err error) (*download, error) {
		cancel()
		o.downloading.Release(1)
		return nil, err
	}
	desc, body, err := o.fetch(ctx, d, 0)
	if err != nil {
		return fail(err)
	}
	if desc.Size == 0 && d != d.Algorithm().FromBytes(nil) { // no byte of the answer could be held back
		body.end()
		return fail(errWrongBytes)
	}
	file, err := os.CreateTemp("", "mirror-")
	if err == nil {
		err = os.Remove(file.Name())
	}
	if err != nil {
		body.end()
		return fail(here(err))
	}
	begun := &download{desc: desc, file: file, cancel: cancel, changed: make(chan struct{}), users: 1}
	if err := b.repository.store.downloads.add(name, begun); err != nil {
		body.end()
		return fail(errors.Join(err, file.Close()))
	}
	go func() {
		defer o.downloading.Release(1)
		defer cancel()
		defer begun.use(-1)
		defer b.repository.store.downloads.remove(name)
		b.finish(ctx, begun, body)
	}()
	return begun, nil
}

// finish gets the bytes of a blob, verifies and stores them.
func (b *blobs) finish(ctx context.Context, d *download, body *body) {
	o := b.repository.origin
	log := logrus.WithFields(logrus.Fields{"vars.name": o.repository, "upstream": o.name})
	atLeast := time.Duration(d.desc.Size/minSpeed) * time.Second
	receiving, cancel := context.WithTimeout(ctx, 10*time.Minute+atLeast)
	defer cancel()
	defer context.AfterFunc(receiving, body.end)()
	err := guarded(func() error {
		if err := b.receive(receiving, d, body); err != nil {
			return err
		}
		return d.verify()
	})
	if err != nil {
		log.Warnf("mirror: getting blob %s: %s", d.desc.Digest, reason(err))
		d.finish(err)
		return
	}
	d.finish(io.EOF)
	err = b.repository.store.storing(ctx, o.answering+atLeast, func(ctx context.Context) error {
		return guarded(func() error { return b.put(ctx, d) })
	})
	if err != nil {
		log.Errorf("mirror: storing blob %s: %v", d.desc.Digest, err)
	}
}

const (
	// attempts is how often a download is tried, and pause how long it is left alone before it
	// is tried again, times the number of the attempt.
	attempts = 5
	pause    = 200 * time.Millisecond
	// minSpeed is how many bytes have to arrive in a second, all in all.
	minSpeed = 64 << 10
)

// receive copies the bytes of a blob into its file. Where the connection breaks, it goes on
// with another one.
func (b *blobs) receive(ctx context.Context, d *download, body *body) (err error) {
	for attempt := range attempts {
		if attempt > 0 {
			if err := sleep(ctx, time.Duration(attempt)*pause); err != nil {
				return err
			}
			body, err = b.reopen(ctx, d)
		}
		if err == nil {
			if err = d.copy(body, b.repository.origin.stalling); err == nil {
				return nil
			}
		}
		if isAbsent(err) || isDenied(err) || isHere(err) {
			break
		}
	}
	return err
}

// reopen asks for the bytes that have not arrived.
func (b *blobs) reopen(ctx context.Context, d *download) (*body, error) {
	desc, body, err := b.repository.origin.fetch(ctx, d.desc.Digest, d.arrived)
	if err != nil {
		return nil, err
	}
	if desc.Size != d.desc.Size {
		body.end()
		return nil, fmt.Errorf("its size was %d, and now is %d", d.desc.Size, desc.Size)
	}
	return body, nil
}

// copy copies what arrives behind what has arrived, and fails if nothing does for long.
func (d *download) copy(body *body, stalling time.Duration) error {
	stalled := time.AfterFunc(stalling, body.end)
	defer body.end()
	defer stalled.Stop()
	buffer := make([]byte, 64<<10)
	for at := body.from; d.arrived < d.desc.Size; {
		n, err := body.Read(buffer[:min(int64(len(buffer)), d.desc.Size-at)])
		if !stalled.Reset(stalling) {
			return errSlow
		}
		if at += int64(n); at > d.arrived {
			if err := d.append(buffer[:n], at); err != nil {
				return here(err)
			}
		}
		if errors.Is(err, io.EOF) && at < d.desc.Size {
			return io.ErrUnexpectedEOF
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// append adds bytes that end at an offset, without those that are there already.
func (d *download) append(bytes []byte, end int64) error {
	if _, err := d.file.WriteAt(bytes[int64(len(bytes))-(end-d.arrived):], d.arrived); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived = end
	d.notify()
	return nil
}

// verify checks that the bytes have the digest of the blob.
func (d *download) verify() error {
	verifier := d.desc.Digest.Verifier()
	if _, err := io.Copy(verifier, io.NewSectionReader(d.file, 0, d.desc.Size)); err != nil {
		return err
	}
	if !verifier.Verified() {
		return errWrongBytes
	}
	return nil
}

var errWrongBytes = errors.New("its bytes do not have its digest")

// put stores a blob.
func (b *blobs) put(ctx context.Context, d *download) error {
	w, err := b.BlobStore.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = io.Copy(w, io.NewSectionReader(d.file, 0, d.desc.Size))
	if err == nil {
		_, err = w.Commit(ctx, d.desc)
	}
	if err != nil {
		return errors.Join(err, w.Cancel(ctx))
	}
	return nil
}

// use changes how many use the file.
func (d *download) use(change int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users += change
	if d.users == 0 {
		_ = d.file.Close()
	}
}

// tryUse makes the caller a user, unless the last one has closed the file.
func (d *download) tryUse() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == 0 {
		return false
	}
	d.users++
	return true
}

// finish says that nothing more arrives.
func (d *download) finish(end error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end = end
	d.notify()
}

func (d *download) notify() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
