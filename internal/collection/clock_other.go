//go:build !linux

package collection

import "time"

// sinceBoot is a clock that goes on, except while the machine is suspended.
func sinceBoot() time.Duration { return sinceStart() }
