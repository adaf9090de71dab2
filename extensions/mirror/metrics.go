package mirror

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	stock "github.com/distribution/distribution/v3/metrics"
	prometheus "github.com/docker/go-metrics"
)

// metrics counts what origins are asked for.
type metrics struct {
	requests                   prometheus.LabeledCounter
	bytes, hits, stale, failed prometheus.LabeledCounter
	limit                      prometheus.LabeledGauge
}

// newMetrics makes the metrics, which are served if enabled.
func newMetrics(enabled bool) *metrics {
	ns := prometheus.NewNamespace(stock.NamespacePrefix, "mirror", nil)
	m := &metrics{
		requests: ns.NewLabeledCounter("requests", "Requests to upstream registries and their token services, by status", "upstream", "status"),
		bytes:    ns.NewLabeledCounter("received_bytes", "Bytes that upstream registries have sent", "upstream"),
		hits:     ns.NewLabeledCounter("hits", "Manifests and blobs that were in the storage when they were asked for", "upstream"),
		stale:    ns.NewLabeledCounter("stale", "Answers from what the upstream registry said earlier, because it failed", "upstream"),
		failed:   ns.NewLabeledCounter("failures", "Requests to upstream registries that were not answered, or with a status of 500 or more", "upstream"),
		limit:    ns.NewLabeledGauge("limit_remaining", "Pulls that the upstream registry still allows, as it said last", prometheus.Unit("pulls"), "upstream"),
	}
	if enabled {
		prometheus.Register(ns)
	}
	return m
}

// meter is the metrics of one upstream.
type meter struct {
	requests                   prometheus.LabeledCounter
	limit                      prometheus.LabeledGauge
	name                       string
	bytes, hits, stale, failed prometheus.Counter
}

func (m *metrics) of(name string) *meter {
	return &meter{
		m.requests, m.limit, name, m.bytes.WithValues(name), m.hits.WithValues(name), m.stale.WithValues(name), m.failed.WithValues(name),
	}
}

// meteredTransport counts requests and what is received.
type meteredTransport struct {
	http.RoundTripper
	*meter
}

// RoundTrip implements http.RoundTripper.
func (t *meteredTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		t.requests.WithValues(t.name, "none").Inc()
		t.failed.Inc()
		return nil, err
	}
	t.requests.WithValues(t.name, strconv.Itoa(resp.StatusCode)).Inc()
	if resp.StatusCode >= http.StatusInternalServerError {
		t.failed.Inc()
	}
	count, _, _ := strings.Cut(resp.Header.Get("RateLimit-Remaining"), ";")
	if left, err := strconv.ParseFloat(count, 64); err == nil {
		t.limit.WithValues(t.name).Set(left)
	}
	resp.Body = &countedBody{resp.Body, t.bytes}
	return resp, nil
}

type countedBody struct {
	io.ReadCloser
	bytes prometheus.Counter
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Inc(float64(n))
	return n, err
}
