//go:build !e2e

package online_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/replicas"
)

// BenchmarkPush measures pushes of a layer and a manifest that replaces another one under
// its tag, by four clients at two replicas: at rest, and while collections are always under
// way, which remove images that nobody has needed for days.
func BenchmarkPush(b *testing.B) {
	for _, each := range []struct{ name, config string }{
		{"at rest", "{interval: 0s}"},
		{"during collections", "{interval: 1s, untagged: true, pace: 100ms}"},
	} {
		b.Run(each.name, func(b *testing.B) {
			root := b.TempDir()
			garbage(b, root, b.N)
			list := replicas.Start(b, 2, harness.Options{
				Root:   root,
				Config: harness.Configf("log: {accesslog: {disabled: true}}\nextensions: {collection: %s}", each.config),
			})
			measure(b, replicas.Clients(list))
		})
	}
}

// garbage stores images without tags that are two days old.
func garbage(b *testing.B, root string, count int) {
	b.Helper()
	seed := harness.NewSeed(b, root, repository)
	seed.Many(count, func(i int) {
		layer := seed.Blob(fmt.Appendf(nil, "an old layer %d", i))
		seed.Manifest(harness.OCIImage(layer, layer))
	})
	then := time.Now().Add(-48 * time.Hour)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, then, then))
	})
	if err != nil {
		b.Fatal(err)
	}
}

const pushers = 4

func measure(b *testing.B, clients []*harness.Client) {
	took := make([][]time.Duration, pushers)
	var number atomic.Int64
	var group errgroup.Group
	b.ResetTimer()
	for i := range pushers {
		group.Go(func() error {
			for n := number.Add(1); n <= int64(b.N); n = number.Add(1) {
				began := time.Now()
				if err := push(b, clients[i%len(clients)], n); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(began))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	for _, percent := range []int{50, 99} {
		b.ReportMetric(float64(all[(len(all)-1)*percent/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", percent))
	}
}

// push pushes the n-th image.
func push(b *testing.B, c *harness.Client, n int64) error {
	layer, err := c.TryPushBlob(b.Context(), repository, fmt.Appendf(nil, "layer %d", n))
	if err != nil {
		return err
	}
	m := harness.OCIImage(layer, layer)
	resp, err := c.Do(b.Context(), harness.Request{
		Method: http.MethodPut, Path: harness.ManifestPath(repository, fmt.Sprint("tag", n%50)), Body: m.Bytes(),
		Header: harness.Header("Content-Type: " + m.ContentType),
	})
	if err == nil && resp.Status != http.StatusCreated {
		err = resp.Err()
	}
	return err
}
