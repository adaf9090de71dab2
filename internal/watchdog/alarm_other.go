//go:build !linux

package watchdog

import "errors"

func newAlarm() (alarm, error) { return nil, errors.ErrUnsupported }
