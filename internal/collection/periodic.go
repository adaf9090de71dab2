package collection

import (
	"context"
	"math/rand/v2"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/records"
)

// completedKey is the record of the last collection that a schedule has completed.
const completedKey = "scheduled"

// jitter is by which part of it an interval may be longer, so that replicas which wait for
// the same moment do not collect at once.
const jitter = 10

// periodic is the schedule of one replica. All replicas on a storage share its interval:
// what one of them has collected, the others need not.
type periodic struct {
	records   *records.Records
	interval  time.Duration
	attempted time.Time // by this replica, whatever came of it
}

// Periodically calls collect about once in each interval of all replicas together, until ctx
// ends. collect reports whether it has completed. A restart does not put a collection off.
// Nothing but work depends on the clocks of the replicas: a record from the future is ignored.
func Periodically(ctx context.Context, driver storagedriver.StorageDriver, interval time.Duration, collect func(context.Context) bool) {
	p := &periodic{records: records.New(driver, Name), interval: interval}
	left, known := p.left(ctx)
	if !known {
		left = rand.N(interval)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(left + rand.N(interval/jitter+1)):
		}
		if left, _ = p.left(ctx); left > 0 || ctx.Err() != nil {
			continue
		}
		if collect(ctx) {
			// Without a record, others collect once more.
			_ = p.records.Add(context.WithoutCancel(ctx), "", completedKey, nil, time.Now())
		}
		p.attempted, left = time.Now(), interval
	}
}

// left is how long it is until a collection is due, at least 0. It is not known before the
// first one, or if the storage does not tell.
func (p *periodic) left(ctx context.Context) (left time.Duration, known bool) {
	now, last := time.Now(), p.attempted
	if completed, err := p.records.Last(ctx, "", completedKey); err == nil && completed.After(last) && !completed.After(now) {
		last = completed
	}
	return max(p.interval-now.Sub(last), 0), !last.IsZero()
}
