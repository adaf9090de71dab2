package collection_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/records"
)

const (
	day  = 24 * time.Hour
	days = 60
)

// Replicas that were started together collect about once a day, not each of them.
func TestReplicasShareAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := inmemory.New()
		ctx, cancel := context.WithTimeout(t.Context(), days*day)
		defer cancel()
		var runs, under, most atomic.Int64
		for range 5 {
			go collection.Periodically(ctx, driver, day, func(context.Context) bool {
				runs.Add(1)
				most.Store(max(most.Load(), under.Add(1)))
				time.Sleep(time.Minute)
				under.Add(-1)
				return true
			})
		}
		<-ctx.Done()
		synctest.Wait()
		// Two may begin within the minute that a run takes.
		if n := runs.Load(); n < days*8/10 || n > days*12/10 {
			t.Errorf("%d collections in %d days, up to %d at once", n, days, most.Load())
		}
	})
}

// A registry that is restarted every few hours collects, too.
func TestRestartsDoNotPutOffACollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver, runs, began := inmemory.New(), 0, time.Now()
		for time.Since(began) < days*day {
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(6*time.Hour))
			collection.Periodically(ctx, driver, day, func(context.Context) bool { runs++; return true })
			cancel()
		}
		if runs < days*6/10 || runs > days*12/10 {
			t.Errorf("%d collections in %d days", runs, days)
		}
	})
}

// What fails is tried again after an interval, and a clock that was wrong stops nothing.
func TestCollectionsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver, runs := inmemory.New(), 0
		future := time.Now().Add(10 * 365 * day)
		if err := records.New(driver, "collection").Add(t.Context(), "", "scheduled", nil, future); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), days*day)
		defer cancel()
		collection.Periodically(ctx, driver, day, func(context.Context) bool { runs++; return runs%2 == 0 })
		if runs < days*9/10 || runs > days {
			t.Errorf("%d collections in %d days", runs, days)
		}
	})
}
