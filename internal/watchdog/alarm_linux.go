package watchdog

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timer is a POSIX timer that sends SIGKILL.
type timer struct{ id int32 }

// sigevent is the kernel's struct sigevent, of 64 bytes: see timer_create(2).
type sigevent struct {
	value  uintptr
	signal int32
	notify int32 // 0 is SIGEV_SIGNAL
	_      [56 - unsafe.Sizeof(uintptr(0))]byte
}

func newAlarm() (alarm, error) {
	t := new(timer)
	event := sigevent{signal: int32(unix.SIGKILL)}
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME,
		uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&t.id)))
	if errno != 0 {
		return nil, os.NewSyscallError("timer_create", errno)
	}
	return t, nil
}

func (t *timer) set(after time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(after.Nanoseconds())}
	_, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(t.id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("timer_settime", errno)
	}
	return nil
}
