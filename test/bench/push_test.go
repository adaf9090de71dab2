package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// push sends a manifest and expects 201.
func push(tb testing.TB, client *http.Client, url string, content []byte) {
	req, err := http.NewRequest(http.MethodPut, url+digest.FromBytes(content).String(), bytes.NewReader(content))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", v1.MediaTypeImageManifest)
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		tb.Fatalf("PUT %s: %s: %s", url, resp.Status, body)
	}
}

// servers is the registry and distribution alone, on trees of the same content.
func servers(b *testing.B, seed func(root string)) map[string]*httptest.Server {
	ours, stock := b.TempDir(), b.TempDir()
	seed(ours)
	seed(stock)
	return map[string]*httptest.Server{"registry": serveOurs(b, ours), "stock": serveStock(b, stock)}
}

// BenchmarkPushReferrer pushes manifests with a subject, with four clients, when
// the subject has n of them already.
func BenchmarkPushReferrer(b *testing.B) {
	for _, n := range []int{1, 3000} {
		var subject digest.Digest
		both := servers(b, func(root string) { subject = seed(b, root, "bench/push", n) })
		config := digest.FromString("{}")
		for _, by := range []string{"stock", "registry"} {
			var next atomic.Int64
			next.Store(1_000_000)
			b.Run(fmt.Sprintf("referrers=%d/by=%s", n, by), func(b *testing.B) {
				pushAll(b, both[by].URL+"/v2/bench/push/manifests/", func() []byte {
					return manifestOf(b, config, subject, int(next.Add(1)))
				})
			})
		}
	}
}

// BenchmarkPushImage pushes manifests without a subject, with four clients.
func BenchmarkPushImage(b *testing.B) {
	both := servers(b, func(root string) { storeConfig(b, newDriver(root), "bench/image") })
	config := digest.FromString("{}")
	for _, by := range []string{"stock", "registry"} {
		var next atomic.Int64
		b.Run("by="+by, func(b *testing.B) {
			pushAll(b, both[by].URL+"/v2/bench/image/manifests/", func() []byte {
				return manifestOf(b, config, "", int(next.Add(1)))
			})
		})
	}
}

func pushAll(b *testing.B, url string, manifest func() []byte) {
	b.SetParallelism(2)
	b.RunParallel(func(pb *testing.PB) {
		client := newClient()
		for pb.Next() {
			push(b, client, url, manifest())
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// BenchmarkPullImage pulls one manifest by digest, with four clients.
func BenchmarkPullImage(b *testing.B) {
	var image digest.Digest
	both := servers(b, func(root string) {
		driver := newDriver(root)
		image = storeManifest(b, driver, "bench/image", manifestOf(b, storeConfig(b, driver, "bench/image"), "", 0))
	})
	for _, by := range []string{"stock", "registry"} {
		b.Run("by="+by, func(b *testing.B) {
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				client := newClient()
				for pb.Next() {
					pull(b, client, both[by].URL+"/v2/bench/image/manifests/"+image.String())
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

func pull(tb testing.TB, client *http.Client, url string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Accept", v1.MediaTypeImageManifest)
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("GET %s: %s %v", url, resp.Status, err)
	}
}
