package collection

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
)

// Announce tells replicas that may be serving what a collection is about to remove that does
// not wait for them, so that their descriptor caches do not vouch for it. The function that
// it returns has to be called when everything has been removed.
func Announce(ctx context.Context, driver storagedriver.StorageDriver, found *gc.Found) (end func(context.Context) error, err error) {
	active, err := listActive(ctx, driver)
	if err != nil {
		return nil, fmt.Errorf("announcing what is removed: %w", err)
	}
	batches := found.Batches(batchSize)
	if len(active.Replicas) == 0 || len(batches) == 0 {
		return func(context.Context) error { return nil }, nil
	}
	var keys [][]Key
	for n, batch := range batches {
		if (n+1)*batchSize > maxCandidates {
			break // a replica that misses some must be restarted
		}
		keys = append(keys, itemKeys(found, batch))
	}
	name := rand.Text()
	if err := driver.PutContent(ctx, layout.RunCandidates(name), encodeCandidates(offlineRun, keys)); err != nil {
		return nil, fmt.Errorf("announcing what is removed: %w", err)
	}
	if err := removeOld(ctx, driver, name); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := driver.PutContent(ctx, layout.RunDone(name, 0), []byte(name)); err != nil {
			return fmt.Errorf("announcing that it is removed: %w", err)
		}
		return nil
	}, nil
}

// oldAfter is how long an announcement is kept for replicas to read. They ask far more
// often, and read all of them when they are started.
const oldAfter = time.Hour

// killedAfter is after how long a collection that has not ended is taken for a killed one.
// Replicas that have read its announcement lose nothing when it goes.
const killedAfter = 7 * 24 * time.Hour

// removeOld removes the announcements of earlier collections, by the clock of the storage.
func removeOld(ctx context.Context, driver storagedriver.StorageDriver, current string) error {
	now, err := driver.Stat(ctx, layout.RunCandidates(current))
	if err != nil {
		return fmt.Errorf("announcing what is removed: %w", err)
	}
	active, err := listActive(ctx, driver)
	if err != nil {
		return err
	}
	for _, name := range active.Runs {
		if alive, err := driver.Stat(ctx, layout.RunAlive(name)); err == nil && alive != nil {
			continue // not an announcement
		}
		if !isOld(ctx, driver, name, now.ModTime()) {
			continue
		}
		if err := layout.Remove(ctx, driver, layout.Run(name)); err != nil {
			return fmt.Errorf("removing an earlier announcement: %w", err)
		}
	}
	return nil
}

// isOld reports whether an announcement is no longer needed: its collection has ended, or
// must have been killed.
func isOld(ctx context.Context, driver storagedriver.StorageDriver, name string, now time.Time) bool {
	if done, err := driver.Stat(ctx, layout.RunDone(name, 0)); err == nil {
		return now.Sub(done.ModTime()) > oldAfter
	}
	begun, err := driver.Stat(ctx, layout.RunCandidates(name))
	return err == nil && now.Sub(begun.ModTime()) > killedAfter
}
