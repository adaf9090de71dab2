// Package faultdriver provides storage drivers for tests: Driver counts the operations of
// another driver and makes them fail, hang or take longer, and Objects is an object store
// in memory that can be copied.
package faultdriver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// Fault is one way in which a storage operation goes wrong.
type Fault int

// The faults. Operations that write nothing treat Half and Stray as Fail.
const (
	// None lets the operation pass.
	None Fault = iota
	// Fail reports an error and does nothing.
	Fail
	// Hang does nothing until the context ends, and then reports that, or until Continue.
	Hang
	// Half writes, reads or walks the first half, and reports an error.
	Half
	// Stray leaves half of a file beside the one that was to be written, like drivers
	// that rename files into place, and reports an error.
	Stray
	// Lost does everything, and reports an error.
	Lost
	// Late does everything, but reports success only when the context has ended.
	Late
)

// Faults are all faults.
func Faults() []Fault { return []Fault{Fail, Hang, Half, Stray, Lost, Late} }

// String is the fault's name.
func (f Fault) String() string {
	return [...]string{"none", "fail", "hang", "half", "stray", "lost", "late"}[f]
}

// Waits reports whether the operation runs until its context ends.
func (f Fault) Waits() bool { return f == Hang || f == Late }

// ErrInjected is the cause of all errors that a Driver injects.
var ErrInjected = errors.New("injected storage fault")

// Operation is one call of a storage driver or of one of its writers. The
// methods of writers are named "Writer.Write" and so on.
type Operation struct{ Method, Path string }

// String is the method and the path.
func (o Operation) String() string { return o.Method + " " + o.Path }

// Writes reports whether the operation changes what is stored.
func (o Operation) Writes() bool {
	switch o.Method {
	case "PutContent", "Writer", "Writer.Write", "Writer.Commit", "Writer.Cancel", "Writer.Close", "Move", "Delete":
		return true
	}
	return false
}

// Driver is a storage driver in front of another one. Like the drivers for
// object stores it does nothing for a context that has ended, and hides the
// causes of errors from errors.Is. Its methods may be called from many
// goroutines.
type Driver struct {
	inner storagedriver.StorageDriver

	mu         sync.Mutex
	operations []Operation
	plan       func(n int, o Operation) Fault
	hit        []Operation
	delay      time.Duration
	running    int
	most       int
	waiting    chan Operation
	resume     chan struct{} // closed and replaced by Continue
}

// New puts a Driver in front of inner.
func New(inner storagedriver.StorageDriver) *Driver {
	return &Driver{inner: inner, waiting: make(chan Operation, 1024), resume: make(chan struct{})}
}

// Reset forgets the operations and the planned faults.
func (d *Driver) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operations, d.plan, d.hit, d.delay, d.most = nil, nil, nil, 0, d.running
}

// Count is how many operations there were since Reset.
func (d *Driver) Count() int { return len(d.Operations()) }

// Operations are the operations since Reset, in the order in which they began.
func (d *Driver) Operations() []Operation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Operation(nil), d.operations...)
}

// MostAtOnce is how many operations were under way at the same time since Reset.
func (d *Driver) MostAtOnce() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most
}

// FailAt makes the k-th operation since Reset go wrong. The first is 1.
func (d *Driver) FailAt(k int, fault Fault) {
	d.Plan(func(n int, _ Operation) Fault {
		if n == k {
			return fault
		}
		return None
	})
}

// FailFrom makes the k-th operation since Reset and all after it go wrong, as in
// an outage.
func (d *Driver) FailFrom(k int, fault Fault) {
	d.Plan(func(n int, _ Operation) Fault {
		if n >= k {
			return fault
		}
		return None
	})
}

// Plan sets the function that says how the n-th operation since Reset goes wrong. It may
// block; it must not use the Driver.
func (d *Driver) Plan(plan func(n int, o Operation) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan = plan
}

// Hit are the operations that went wrong since Reset.
func (d *Driver) Hit() []Operation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Operation(nil), d.hit...)
}

// Delay makes every operation take longer.
func (d *Driver) Delay(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// Continue forgets the planned faults, and lets the operations pass that hang.
func (d *Driver) Continue() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan = nil
	close(d.resume)
	d.resume = make(chan struct{})
}

// Waiting receives each operation that begins to wait for the end of its
// context.
func (d *Driver) Waiting() <-chan Operation { return d.waiting }

// do runs one operation. half does half of it; nil: nothing.
func (d *Driver) do(ctx context.Context, method, path string, whole func() error, half func(Fault) error) error {
	o := Operation{method, path}
	fault, delay, resume := d.begin(o)
	defer d.end()
	if ctx.Err() == nil && delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return d.hidden(err)
	}
	switch fault {
	case Fail:
		return d.hidden(ErrInjected)
	case Hang:
		d.waiting <- o
		select {
		case <-resume:
			return whole()
		case <-ctx.Done():
			return d.hidden(ctx.Err())
		}
	case Half, Stray:
		if half != nil {
			if err := half(fault); err != nil {
				return err
			}
		}
		return d.hidden(ErrInjected)
	case Lost:
		if err := whole(); err != nil {
			return err
		}
		return d.hidden(ErrInjected)
	case Late:
		err := whole()
		d.waiting <- o
		<-ctx.Done()
		return err
	default:
		return whole()
	}
}

func (d *Driver) begin(o Operation) (fault Fault, delay time.Duration, resume <-chan struct{}) {
	d.mu.Lock()
	d.operations = append(d.operations, o)
	n, plan := len(d.operations), d.plan
	delay, resume = d.delay, d.resume
	d.running++
	d.most = max(d.most, d.running)
	d.mu.Unlock()
	if plan == nil {
		return None, delay, resume
	}
	fault = plan(n, o)
	if fault != None {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.hit = append(d.hit, o)
	}
	return fault, delay, resume
}

func (d *Driver) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
}

// hidden is how distribution's drivers report causes.
func (d *Driver) hidden(cause error) error {
	return storagedriver.Error{DriverName: d.Name(), Detail: cause}
}

// Name implements storagedriver.StorageDriver. It is no operation.
func (d *Driver) Name() string { return d.inner.Name() }

// GetContent implements storagedriver.StorageDriver.
func (d *Driver) GetContent(ctx context.Context, path string) (content []byte, err error) {
	err = d.do(ctx, "GetContent", path, func() (err error) {
		content, err = d.inner.GetContent(ctx, path)
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	return content, nil
}

// PutContent implements storagedriver.StorageDriver.
func (d *Driver) PutContent(ctx context.Context, path string, content []byte) error {
	return d.do(ctx, "PutContent", path,
		func() error { return d.inner.PutContent(ctx, path, content) },
		func(fault Fault) error {
			if fault == Stray {
				path += ".0b5c6bd2-3f6b-4a83-9a54-6e0b8f4f1d11.tmp"
			}
			return d.inner.PutContent(ctx, path, content[:len(content)/2])
		})
}

// Stat implements storagedriver.StorageDriver.
func (d *Driver) Stat(ctx context.Context, path string) (info storagedriver.FileInfo, err error) {
	err = d.do(ctx, "Stat", path, func() (err error) {
		info, err = d.inner.Stat(ctx, path)
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// List implements storagedriver.StorageDriver.
func (d *Driver) List(ctx context.Context, path string) (paths []string, err error) {
	err = d.do(ctx, "List", path, func() (err error) {
		paths, err = d.inner.List(ctx, path)
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	return paths, nil
}

// Move implements storagedriver.StorageDriver.
func (d *Driver) Move(ctx context.Context, source, dest string) error {
	return d.do(ctx, "Move", dest, func() error { return d.inner.Move(ctx, source, dest) }, nil)
}

// Delete implements storagedriver.StorageDriver. Half of a folder is deleted by
// Half.
func (d *Driver) Delete(ctx context.Context, path string) error {
	return d.do(ctx, "Delete", path,
		func() error { return d.inner.Delete(ctx, path) },
		func(Fault) error { return d.deleteHalf(ctx, path) })
}

func (d *Driver) deleteHalf(ctx context.Context, path string) error {
	info, err := d.inner.Stat(ctx, path)
	if err != nil || !info.IsDir() {
		return err
	}
	paths, err := d.inner.List(ctx, path)
	if err != nil {
		return err
	}
	for _, p := range paths[:(len(paths)+1)/2] {
		if err := d.inner.Delete(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// RedirectURL implements storagedriver.StorageDriver. It is no operation.
func (d *Driver) RedirectURL(r *http.Request, path string) (string, error) {
	return d.inner.RedirectURL(r, path)
}

// Walk implements storagedriver.StorageDriver. It is one operation, however many
// entries there are.
func (d *Driver) Walk(ctx context.Context, path string, visit storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	walk := func(visit storagedriver.WalkFn) error { return d.inner.Walk(ctx, path, visit, options...) }
	return d.do(ctx, "Walk", path, func() error { return walk(visit) }, func(Fault) error {
		entries := 0
		if err := walk(func(storagedriver.FileInfo) error { entries++; return nil }); err != nil {
			return err
		}
		return walk(func(info storagedriver.FileInfo) error {
			if entries -= 2; entries < 0 {
				return storagedriver.ErrFilledBuffer
			}
			return visit(info)
		})
	})
}

// Reader implements storagedriver.StorageDriver.
func (d *Driver) Reader(ctx context.Context, path string, offset int64) (reader io.ReadCloser, err error) {
	half := false
	open := func() (err error) {
		reader, err = d.inner.Reader(ctx, path, offset)
		return err
	}
	err = d.do(ctx, "Reader", path, open, func(Fault) error {
		half = true
		return open()
	})
	switch {
	case half && reader != nil:
		return d.halfReader(ctx, path, offset, reader)
	case err != nil:
		if reader != nil {
			_ = reader.Close()
		}
		return nil, err
	}
	return reader, nil
}
