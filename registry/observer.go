package registry

import (
	"context"
	"errors"
	"time"

	"github.com/distribution/distribution/v3/metrics"
	prometheus "github.com/docker/go-metrics"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/progress"
	"github.com/oras-distribution/registry/internal/referrers"
)

// observer reports the events of the index in the log and the metrics.
type observer struct {
	skipped, scanned, read, added, failed prometheus.Counter

	runs                                prometheus.LabeledCounter
	candidates, rescued, removed, bytes prometheus.Counter
	duration                            prometheus.Timer
}

// newObserver creates an observer, whose metrics are served if enabled.
func newObserver(enabled bool) *observer {
	indexMetrics := prometheus.NewNamespace(metrics.NamespacePrefix, "referrers", nil)
	o := &observer{
		skipped: indexMetrics.NewCounter("skipped", "Entries that a listing left out because they cannot be pulled or read"),
		scanned: indexMetrics.NewCounter("scanned_repositories", "Repositories that have been prepared for listings"),
		read:    indexMetrics.NewCounter("scanned_manifests", "Manifests that were read to prepare repositories"),
		added:   indexMetrics.NewCounter("links_added", "Missing links that have been written"),
		failed:  indexMetrics.NewCounter("background_failures", "Background tasks that failed and will be retried"),
	}
	collections := prometheus.NewNamespace(metrics.NamespacePrefix, "collection", nil)
	o.runs = collections.NewLabeledCounter("runs", "Garbage collections that this process has run while serving, by how they ended", "result")
	o.candidates = collections.NewCounter("candidates", "What garbage collections have announced to remove")
	o.rescued = collections.NewCounter("rescued", "What of that was used meanwhile, and kept")
	o.removed = collections.NewCounter("removed", "Tags, manifests, links and blobs that garbage collections have removed")
	o.bytes = collections.NewCounter("removed_bytes", "The bytes of blobs that garbage collections have removed")
	for _, result := range []string{"complete", "interrupted", "failed"} {
		o.runs.WithValues(result).Inc(0) // so that an alert sees the first one
	}
	o.duration = collections.NewTimer("run", "How long garbage collections took")
	if enabled {
		prometheus.Register(indexMetrics)
		prometheus.Register(collections)
	}
	return o
}

// Skipped implements referrers.Observer.
func (o *observer) Skipped(repository string, subject, referrer digest.Digest, reason error) {
	o.skipped.Inc()
	logrus.WithFields(logrus.Fields{
		"vars.name": repository, "subject": subject, "referrer": referrer,
	}).Warnf("leaving a manifest out of listings: %v", reason)
}

// Scanned implements referrers.Observer.
func (o *observer) Scanned(repository string, r referrers.ScanResult) {
	o.scanned.Inc()
	o.read.Inc(float64(r.Read))
	if r.Read > 0 {
		logrus.WithFields(logrus.Fields{
			"vars.name": repository, "manifests": r.Revisions, "read": r.Read,
		}).Info("index of referrers: read a repository's manifests")
	}
}

// Linked implements referrers.Observer.
func (o *observer) Linked(repository string, links int) {
	o.added.Inc(float64(links))
	logrus.WithFields(logrus.Fields{"vars.name": repository, "links": links}).Info("index of referrers: linked manifests to their subjects")
}

// Failed implements referrers.Observer.
func (o *observer) Failed(repository string, err error) {
	o.failed.Inc()
	logrus.WithField("vars.name", repository).Errorf("index of referrers: %v", err)
}

// Collected reports a garbage collection that this process has run while serving.
func (o *observer) Collected(result collection.Result, err error, took time.Duration) {
	removed := result.Tags.Removed + result.Manifests.Removed + result.LayerLinks.Removed + result.ReferrerLinks.Removed + result.Blobs.Removed
	o.candidates.Inc(float64(result.Candidates))
	o.rescued.Inc(float64(result.Rescued))
	o.removed.Inc(float64(removed))
	o.bytes.Inc(float64(result.Bytes.Removed))
	o.duration.Update(took)
	log := logrus.WithFields(logrus.Fields{
		"candidates": result.Candidates, "rescued": result.Rescued, "removed": removed, "blobs": result.Blobs.Removed,
		"bytes": result.Bytes.Removed, "seconds": took.Seconds(),
	})
	switch {
	case err == nil:
		o.runs.WithValues("complete").Inc()
		log.Info("garbage collection: done")
	case errors.Is(err, context.Canceled):
		o.runs.WithValues("interrupted").Inc()
		log.Info("garbage collection: interrupted, because this registry stops")
	default:
		o.runs.WithValues("failed").Inc()
		log.Errorf("garbage collection: %v", err)
	}
}

func logProgress(p referrers.Progress) {
	switch {
	case p.Failed: // the observer has been told why
		return
	case p.Done:
		logrus.Infof("index of referrers: all repositories are ready (%d)", p.Repositories)
		return
	}
	logrus.Infof("index of referrers: ready so far: %d of the %s found", p.Ready, progress.Count(p.Repositories, "repositories"))
}
