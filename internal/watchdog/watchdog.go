// Package watchdog keeps a process that was stopped (SIGSTOP, a frozen container, a
// suspended machine) from finishing, when it goes on, what others have long taken for dead.
//
// No look at a clock can do that: the process may be stopped after the look, and before
// the system call that it was for. So it asks the kernel to kill it unless it puts that off
// all the time. The kernel's timer goes on while the process is stopped, and while the
// machine is suspended, and a process that is killed does not return from where it was
// stopped.
package watchdog

import (
	"sync"
	"time"
)

// ticks is how often the kernel is told, within one timeout, that the process is alive.
const ticks = 8

// alarm is the kernel's timer.
type alarm interface {
	// set has the process killed after a time, and not at all if that is 0.
	set(time.Duration) error
}

// Watchdog has the process killed if it is stopped for longer than a timeout while
// something is guarded. Its methods may be called from many goroutines.
type Watchdog struct {
	timeout time.Duration
	alarm   alarm

	mu      sync.Mutex
	guarded int
	tick    *time.Timer // while something is guarded
}

// New makes a Watchdog. The error is errors.ErrUnsupported on systems other than Linux.
func New(timeout time.Duration) (*Watchdog, error) {
	alarm, err := newAlarm()
	if err != nil {
		return nil, err
	}
	return &Watchdog{timeout: timeout, alarm: alarm}, nil
}

// Guard begins something that must not go on after the process was stopped for longer than
// the timeout. done has to be called, once, when it is over.
func (w *Watchdog) Guard() (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.guarded++; w.guarded == 1 {
		w.put(w.timeout)
		w.tick = time.AfterFunc(w.timeout/ticks, w.alive)
	}
	return w.done
}

func (w *Watchdog) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.guarded--; w.guarded == 0 {
		w.tick.Stop()
		w.put(0)
	}
}

// alive puts the alarm off.
func (w *Watchdog) alive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.guarded > 0 {
		w.put(w.timeout)
		w.tick.Reset(w.timeout / ticks)
	}
}

func (w *Watchdog) put(after time.Duration) {
	if err := w.alarm.set(after); err != nil {
		panic("watchdog: " + err.Error()) // the kernel takes every time
	}
}
