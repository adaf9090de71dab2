package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/records"
)

// storageStatusOf reads the storage of a configuration.
func storageStatusOf(ctx context.Context, errOut io.Writer, path string, list []extensions.Extension) (*storageStatus, error) {
	prepared, err := prepare(ctx, errOut, []string{path}, list)
	if err != nil {
		return nil, err
	}
	tree, err := treeOf(ctx, prepared, layout.ReadOnly{StorageDriver: prepared.driver})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.index.Close(context.WithoutCancel(ctx)) }()
	status := &storageStatus{
		Version: Version(), Commit: commit(), Distribution: moduleVersion(distributionModule),
		Configuration: path, Storage: config.RedactText(storageName(prepared.config.Stock.Storage), false), ReadOnly: prepared.config.ReadOnly(), Extensions: []string{},
		Summaries: map[string]string{},
	}
	for _, e := range prepared.extended.enabled {
		status.Extensions = append(status.Extensions, e.Name())
		if s, ok := e.(extensions.Summarizer); ok && s.Summary() != "" {
			status.Summaries[e.Name()] = s.Summary()
		}
	}
	slices.Sort(status.Extensions)
	err = tree.each(ctx, func(name string) error {
		manifests, known, err := tree.index.Known(ctx, name)
		if err != nil {
			return fmt.Errorf("repository %s: %w", name, err)
		}
		status.Repositories++
		status.Index.Manifests += manifests
		status.Index.Unread += manifests - known
		if manifests == known {
			status.Index.Prepared++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return status, status.readCollections(ctx, tree.driver)
}

// readCollections reads what replicas and collectors have left in the storage.
func (s *storageStatus) readCollections(ctx context.Context, driver storagedriver.StorageDriver) error {
	active, err := driver.List(ctx, layout.Active)
	if err != nil && !layout.IsNotFound(err) {
		return err
	}
	names := layout.ParseActive(active)
	s.Replicas, s.Collection.Running = len(names.Replicas), len(names.Runs) > 0
	s.Collection.Last, err = lastCollected(ctx, driver)
	return err
}

// collected is what the last garbage collection has removed.
type collected struct {
	At        time.Time `json:"at"`
	Manifests int64     `json:"removedManifests"`
	Blobs     int64     `json:"removedBlobs"`
	Bytes     int64     `json:"removedBytes"`
}

// The place of the record of the last collection, which every collector writes.
const collectedKey = "ended"

// recordCollected writes down that a collection has ended. Nothing depends on it but what
// people are told.
func recordCollected(ctx context.Context, driver storagedriver.StorageDriver, report gc.Report) error {
	if report.DryRun || len(report.Repositories) == 0 { // nothing was written to the storage yet
		return nil
	}
	now := time.Now().UTC().Truncate(time.Second)
	content, err := json.Marshal(collected{now, report.Manifests.Removed, report.Blobs.Removed, report.Bytes.Removed})
	if err != nil {
		return err
	}
	return records.New(driver, collection.Name).Add(ctx, "", collectedKey, content, now)
}

// lastCollected is nil if no collection has ended, or none that could be written down.
func lastCollected(ctx context.Context, driver storagedriver.StorageDriver) (*collected, error) {
	content, at, err := records.New(driver, collection.Name).Newest(ctx, "", collectedKey)
	if err != nil || at.IsZero() {
		return nil, err
	}
	last := new(collected)
	if json.Unmarshal(content, last) != nil {
		return nil, nil // written by another version
	}
	last.At = at.UTC()
	return last, nil
}
