package bench

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions"
)

// memory is an extension that serves bytes from memory, behind the registry's middleware
// for routes of extensions: the baseline for a listing.
type memory struct{ body []byte }

func (*memory) Name() string { return "memory" }
func (m *memory) Routes(extensions.Services) []extensions.Route {
	return []extensions.Route{{
		Name: "memory", Path: "/v2/{name}/memory/{reference}",
		Serve: func(w http.ResponseWriter, _ *http.Request, _ extensions.Target) error {
			w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
			w.Header().Set("Content-Length", strconv.Itoa(len(m.body)))
			_, err := w.Write(m.body)
			return err
		},
	}}
}

// get reads one answer and returns its size and the address of the next page.
func get(tb testing.TB, client *http.Client, url string) (size int64, next string) {
	resp, err := client.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		tb.Fatalf("GET %s: %s: %s", url, resp.Status, body)
	}
	size, err = io.Copy(io.Discard, resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	if link := resp.Header.Get("Link"); link != "" {
		path, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		host, _, _ := strings.Cut(url, "/v2/")
		next = host + path
	}
	return size, next
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
}

// BenchmarkListing lists all referrers of one subject with four clients, from
// the storage and from memory.
func BenchmarkListing(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		root := b.TempDir()
		subject := seed(b, root, "bench/listing", n)
		limit := &memory{}
		server := serveOurs(b, root, limit)
		listing := server.URL + "/v2/bench/listing/referrers/" + subject.String()
		limit.body = body(b, listing)
		b.Run(fmt.Sprintf("referrers=%d", n), func(b *testing.B) {
			list := newClients()
			side := func(url string) func(int) {
				return func(client int) {
					if size, _ := get(b, list[client], url); size != int64(len(limit.body)) {
						b.Errorf("%d bytes, not %d", size, len(limit.body))
					}
				}
			}
			duel(b, side(listing), side(server.URL+"/v2/bench/listing/memory/x"))
		})
	}
}

func body(tb testing.TB, url string) []byte {
	tb.Helper()
	resp, err := http.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatal(resp.Status, err)
	}
	return content
}
