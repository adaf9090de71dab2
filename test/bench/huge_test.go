package bench

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// BenchmarkHugeSubject asks for a page of 100 of the 100,000 referrers of one
// subject: when nothing has changed, and when one has been pushed meanwhile.
func BenchmarkHugeSubject(b *testing.B) {
	const n = 100_000
	root := b.TempDir()
	subject := seed(b, root, "bench/huge", n)
	config := digest.FromString("{}")
	server := serveOurs(b, root)
	client := newClient()
	page := server.URL + "/v2/bench/huge/referrers/" + subject.String() + "?n=100"
	waitUntilReady(b, client, page)
	b.Run("change=none", func(b *testing.B) {
		for range b.N {
			get(b, client, page)
		}
	})
	pushed := n
	b.Run("change=push", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			pushed++
			push(b, client, server.URL+"/v2/bench/huge/manifests/", manifestOf(b, config, subject, pushed))
			b.StartTimer()
			get(b, client, page)
		}
	})
}

// waitUntilReady asks for a listing until the registry has indexed its repository.
func waitUntilReady(b *testing.B, client *http.Client, url string) {
	b.Helper()
	began := time.Now()
	for {
		resp, err := client.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case 200:
			b.Logf("the first answer came after %s", time.Since(began).Round(time.Millisecond))
			return
		case 503:
		default:
			b.Fatal(fmt.Sprint("status ", resp.Status))
		}
	}
}
