package registry

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/watchdog"
)

// leastStopped is for how long a process may be stopped in any case: on a busy machine it
// may have to wait for a processor.
const leastStopped = 3 * time.Second

// watch is the Guard of collection.Options for a process of its own: the kernel kills it if
// it was stopped for so long that others take it for dead. It is nil where there is none.
func watch(pace time.Duration) func() (done func()) {
	w, err := watchdog.New(max(collection.Pace(pace).Stopped(), leastStopped))
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			logrus.Warnf("garbage collection: do not continue this process after it was stopped: %v", err)
		}
		return nil
	}
	return w.Guard
}
