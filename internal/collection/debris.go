package collection

import (
	"context"
	"fmt"
	"io"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/layout"
)

// What collectors and replicas leave behind that are killed, or cannot write to the end,
// goes when it is so old that nobody can still be writing it: twice as old as anything that
// was sent takes to have an effect. Replicas measure that by their own clocks, unless they
// are started again and again, and collectors by the clock of the storage.

// removeDead removes what has been left behind beside the runs for long enough.
func (c *run) removeDead(ctx context.Context) error {
	now, err := c.driver.Stat(ctx, layout.RunAlive(c.name))
	if err != nil {
		return fmt.Errorf("looking for earlier runs: %w", err)
	}
	before := now.ModTime().Add(-2 * c.options.Pace.abandoned())
	active, err := listActive(ctx, c.driver)
	if err != nil {
		return fmt.Errorf("looking for earlier runs: %w", err)
	}
	for _, file := range active.Unfinished {
		info, err := c.driver.Stat(ctx, file)
		if err != nil || !info.ModTime().Before(before) {
			continue // it has been written
		}
		if err := layout.Remove(ctx, c.driver, file); err != nil {
			return fmt.Errorf("removing the rest of a registration: %w", err)
		}
	}
	return atOnce(len(active.Runs), func(n int) error {
		name := active.Runs[n]
		written, err := lastWritten(ctx, c.driver, name)
		if err != nil || written.IsZero() || !written.Before(before) {
			return nil //nolint:nilerr // it is alive, or others are removing it, or the next run will
		}
		if err := removeRun(ctx, c.driver, name); err != nil {
			return fmt.Errorf("removing the folder of an earlier run: %w", err)
		}
		return nil
	})
}

// lastWritten is when somebody has last written what tells whether a run is alive: the signs
// of life of its collector, the candidates if there are none, and anything if it is debris.
// It is zero for the announcement of a collection that does not give any.
func lastWritten(ctx context.Context, driver storagedriver.StorageDriver, name string) (at time.Time, err error) {
	info, err := driver.Stat(ctx, layout.RunAlive(name))
	if layout.IsNotFound(err) {
		var kind byte
		if kind, err = kindOf(ctx, driver, name); kind == offlineRun {
			return at, err
		}
		if err == nil {
			info, err = driver.Stat(ctx, layout.RunCandidates(name))
		}
	}
	if err == nil {
		return info.ModTime(), nil
	}
	if !layout.IsNotFound(err) {
		return at, err
	}
	if info, err = driver.Stat(ctx, layout.Run(name)); err != nil {
		return at, err
	}
	at = info.ModTime() // of a folder, if the storage has any
	err = driver.Walk(ctx, layout.Run(name), func(info storagedriver.FileInfo) error {
		if info.ModTime().After(at) {
			at = info.ModTime()
		}
		return nil
	})
	return at, err
}

// kindOf reads the kind of a run, which is 0 if it has none.
func kindOf(ctx context.Context, driver storagedriver.StorageDriver, name string) (byte, error) {
	reader, err := driver.Reader(ctx, layout.RunCandidates(name), 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = reader.Close() }()
	var kind [1]byte
	if _, err := io.ReadFull(reader, kind[:]); err != nil && err != io.EOF {
		return 0, fmt.Errorf("reading the candidates of run %s: %w", name, err)
	}
	return kind[0], nil
}
