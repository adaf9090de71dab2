package registry

import (
	"context"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/gc"
)

func collectionSettings(root extensions.Section) (collection.Settings, error) {
	settings := collection.Settings{OlderThan: collection.DefaultOlderThan, Pace: collection.DefaultPace}
	section, err := root.Take(collection.Name)
	if err != nil {
		return settings, err
	}
	if err := section.Decode(&settings); err != nil {
		return settings, err
	}
	if settings.Pace < time.Millisecond {
		err = section.Errorf("pace", "must be at least 1ms, not %s", settings.Pace)
	}
	return settings, err
}

// collectionInEffect is the section with its defaults.
func collectionInEffect(s collection.Settings) map[string]any {
	return map[string]any{
		"interval": s.Interval.String(), "untagged": s.Untagged, "dangling": s.Dangling, "olderthan": s.OlderThan.String(),
		"pace": s.Pace.String(),
	}
}

// collecting is the collecting of garbage that a serving registry does by itself.
type collecting struct {
	replica  *collection.Replica
	driver   storagedriver.StorageDriver
	cache    *sharedCache
	observer *observer
	options  collection.Options
	yield    func(context.Context) // to requests
	cancel   context.CancelFunc
	work     sync.WaitGroup
}

// start collects at intervals, if the configuration says so.
func (c *collecting) start(x *extended) {
	keys := x.collection
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	if keys.Interval == 0 {
		return
	}
	c.work.Go(func() {
		collection.Periodically(ctx, c.driver, keys.Interval, func(ctx context.Context) bool { return c.collect(ctx, x) })
	})
}

// stop ends the collecting. What has been begun is finished.
func (c *collecting) stop() {
	if c.cancel != nil {
		c.cancel()
		c.work.Wait()
		c.cache.close()
	}
}

// collect runs the collector once, unless another one is at work. It reports whether it has
// completed.
func (c *collecting) collect(ctx context.Context, x *extended) bool {
	if c.replica.IsBusy() {
		logrus.Info("garbage collection: another one is at work")
		return false
	}
	keys := x.collection
	options := gc.Options{
		Untagged: keys.Untagged, Dangling: keys.Dangling, OlderThan: keys.OlderThan, Reach: x.reach, Describe: x.types.Dated,
		Yield: c.yield,
	}
	if !x.rules.Empty() {
		options.Retain = x.rules.For
	}
	began := time.Now()
	result, err := collection.Collect(ctx, c.driver, collection.RunOptions{
		Options: c.options, Garbage: options, Forget: c.cache.forget,
	})
	c.observer.Collected(result, err, time.Since(began))
	if err != nil {
		return false
	}
	if err := recordCollected(ctx, c.driver, result.Report); err != nil {
		logrus.Warnf("garbage collection: `registry status` will not know of it: %v", err)
	}
	return true
}
