package registry

import (
	"github.com/distribution/distribution/v3/metrics"
	prometheus "github.com/docker/go-metrics"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/referrers"
)

// observer reports the events of the index in the log and the metrics.
type observer struct {
	skipped, scanned, read, added, failed prometheus.Counter
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
	if enabled {
		prometheus.Register(indexMetrics)
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

func logProgress(p referrers.Progress) {
	if p.Done {
		logrus.Infof("index of referrers: all %d repositories are ready", p.Repositories)
		return
	}
	logrus.Infof("index of referrers: %d of the %d repositories found so far are ready", p.Ready, p.Repositories)
}
