package mirror

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Gated sends half of each blob, and the rest when the gate opens.
func Gated(gate <-chan struct{}) Fault {
	return func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		a := answer(r, registry)
		if !strings.Contains(r.URL.Path, "/blobs/") || r.Method != http.MethodGet {
			maps.Copy(w.Header(), a.Header())
			w.WriteHeader(a.Code)
			_, _ = w.Write(a.Body.Bytes())
			return
		}
		begin(w, a, a.Body.Len())
		_, _ = w.Write(a.Body.Bytes()[:a.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-gate:
			_, _ = w.Write(a.Body.Bytes()[a.Body.Len()/2:])
		case <-r.Context().Done():
		}
	}
}

// Puller is a client that gets a blob, or part of it.
type Puller struct {
	Ranged bool
	Leaves bool
	First  func() // called when a byte has arrived
}

// Pull gets the blob at an address, and expects it to have this content.
func (p Puller) Pull(ctx context.Context, url string, content []byte) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if p.Ranged {
		r.Header.Set("Range", "bytes=100-199")
		content = content[100:200]
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, got); err != nil {
		return err
	}
	p.First()
	if p.Leaves {
		leave()
		return nil
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if got = append(got, rest...); !bytes.Equal(got, content) {
		return fmt.Errorf("got %d bytes, and not the %d of the blob", len(got), len(content))
	}
	return nil
}

// TryPull pulls everything, until something fails. Whatever is answered is whole.
func (c *Content) TryPull(ctx context.Context, client *harness.Client, repository string) error {
	get := func(path string, body []byte) error {
		resp, err := client.Do(ctx, harness.Request{Method: http.MethodGet, Path: path, Header: harness.Header(harness.AcceptAll)})
		switch {
		case err != nil:
			return err
		case resp.Status != http.StatusOK || body != nil && string(resp.Body) != string(body):
			return resp.Err()
		}
		for _, m := range c.Attached {
			if body == nil && !strings.Contains(string(resp.Body), m.Digest().String()) {
				return fmt.Errorf("a list is short: %s", resp)
			}
		}
		return nil
	}
	var group errgroup.Group
	group.Go(func() error { return get(harness.ManifestPath(repository, "v1"), c.ImageBytes) })
	group.Go(func() error { return get(harness.BlobPath(repository, c.Layer.Digest), c.LayerBytes) })
	group.Go(func() error { return get(harness.OCI.Path(repository, c.Image.Digest), nil) })
	for i, m := range c.Attached {
		group.Go(func() error { return get(harness.ManifestPath(repository, m.Digest().String()), m.Bytes()) })
		group.Go(func() error {
			return get(harness.BlobPath(repository, harness.BlobDescriptor(c.AttachedRaw[i]).Digest), c.AttachedRaw[i])
		})
	}
	return group.Wait()
}
