package mirror

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// BenchmarkWarm measures pulls through a mirror that has the content and has asked within
// the ttl, in turns with pulls of the same content that was pushed to the same registry.
func BenchmarkWarm(b *testing.B) {
	origin := NewOrigin(b)
	content := Push(origin.Client, "app")
	registry := harness.Start(b, harness.Options{Config: harness.Configf("extensions: {mirror: {upstreams: {origin: {url: %s, ttl: 1h}}}}", origin.URL)})
	client := registry.Client()
	Push(client, "app")
	content.Pull(b, client, "origin/app")
	image := content.Image.Digest
	for _, request := range []struct {
		name string
		path func(repository string) string
	}{
		{"manifest by digest", func(name string) string { return harness.ManifestPath(name, image.String()) }},
		{"manifest by tag", func(name string) string { return harness.ManifestPath(name, "v1") }},
		{"blob of 40 kB", func(name string) string { return harness.BlobPath(name, content.Layer.Digest) }},
		{"referrers", func(name string) string { return harness.OCI.With(name, image) }},
	} {
		b.Run(request.name, func(b *testing.B) {
			var took [2][]time.Duration
			for b.Loop() {
				for i, name := range []string{"app", "origin/app"} {
					began := time.Now()
					client.For(b).Get(request.path(name), harness.AcceptAll).Expect(http.StatusOK)
					took[i] = append(took[i], time.Since(began))
				}
			}
			local, mirrored := median(took[0]), median(took[1])
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(local.Microseconds()), "local-µs")
			b.ReportMetric(float64(mirrored.Microseconds()), "mirror-µs")
			b.ReportMetric(float64(mirrored)/float64(local), "ratio")
		})
	}
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
