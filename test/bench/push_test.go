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

	"github.com/oras-distribution/registry/test/internal/harness"
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

// sides are the registry and distribution alone, on trees with the same content.
type sides struct{ ours, stock *httptest.Server }

func newSides(b *testing.B, seed func(root string)) sides {
	ours, stock := b.TempDir(), b.TempDir()
	seed(ours)
	seed(stock)
	return sides{serveOurs(b, ours), serveStock(b, stock)}
}

// duel sends both the same requests. The i-th request of each is the same.
func (s sides) duel(b *testing.B, request func(client *http.Client, server string, i int)) {
	side := func(server *httptest.Server) func(int) {
		var next atomic.Int64
		list := newClients()
		return func(client int) { request(list[client], server.URL, int(next.Add(1))) }
	}
	duel(b, side(s.ours), side(s.stock))
}

// BenchmarkPushReferrer pushes manifests with a subject, with four clients, when
// the subject has n of them already.
func BenchmarkPushReferrer(b *testing.B) {
	for _, n := range []int{1, 3000} {
		b.Run(fmt.Sprintf("referrers=%d", n), func(b *testing.B) {
			var subject digest.Digest
			both := newSides(b, func(root string) { subject = seed(b, root, "bench/push", n) })
			config := digest.FromString("{}")
			both.duel(b, func(client *http.Client, server string, i int) {
				push(b, client, server+"/v2/bench/push/manifests/", manifestOf(b, config, subject, 1_000_000+i))
			})
		})
	}
}

// BenchmarkPushImage pushes manifests without a subject.
func BenchmarkPushImage(b *testing.B) {
	both := newSides(b, func(root string) { storeConfig(harness.NewSeed(b, root, "bench/image")) })
	config := digest.FromString("{}")
	both.duel(b, func(client *http.Client, server string, i int) {
		push(b, client, server+"/v2/bench/image/manifests/", manifestOf(b, config, "", i))
	})
}

// BenchmarkPullImage pulls one manifest by digest.
func BenchmarkPullImage(b *testing.B) {
	var image digest.Digest
	both := newSides(b, func(root string) {
		s := harness.NewSeed(b, root, "bench/image")
		image = storeManifest(s, manifestOf(b, storeConfig(s), "", 0))
	})
	both.duel(b, func(client *http.Client, server string, _ int) {
		pull(b, client, server+"/v2/bench/image/manifests/"+image.String())
	})
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
