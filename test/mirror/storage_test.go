package mirror

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// Whatever write to the storage of a mirror fails, and however, clients get what is whole or an
// error that is the registry's own, nothing half is stored under a digest, and the next pull works.
func TestFailingWrites(t *testing.T) {
	origin := NewOrigin(t)
	content := Push(origin.Client, "app")
	for i, fault := range []faultdriver.Fault{faultdriver.Fail, faultdriver.Half, faultdriver.Stray, faultdriver.Lost} {
		for _, outage := range []bool{false, true} {
			if outage && fault != faultdriver.Fail {
				continue
			}
			for k := 1 + i; ; k += 1 {
				hit := false
				t.Run(fmt.Sprintf("%s at write %d, outage %t", fault, k, outage), func(t *testing.T) {
					hit = failingWrite(t, origin, content, plan{fault, k, outage})
				})
				if !hit || t.Failed() {
					break
				}
			}
		}
	}
}

// plan is which write fails: the k-th, or all from there on.
type plan struct {
	fault  faultdriver.Fault
	k      int
	outage bool
}

// failingWrite pulls everything while a write fails. It reports whether there was one.
func failingWrite(t *testing.T, origin *Origin, content *Content, p plan) (hit bool) {
	t.Helper()
	tree := faultdriver.NewObjects("objects")
	driver := faultdriver.New(tree)
	r := inprocess.Start(t, driver, inprocess.Options{Mirror: harness.Configf("{upstreams: {origin: {url: %s, ttl: 1h}}}", origin.URL)})
	var written atomic.Int64
	driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
		if !o.Writes() || strings.HasPrefix(o.Path, layout.Collection) || strings.Contains(o.Path, "/_refs/derived/") {
			return faultdriver.None
		}
		writes := int(written.Add(1))
		switch {
		case writes < p.k || writes > p.k && !p.outage:
			return faultdriver.None
		case p.fault == faultdriver.Half && path.Base(o.Path) == "data":
			return faultdriver.Fail // no driver of distribution leaves half a file, and distribution checks no sizes
		}
		return p.fault
	})
	for _, path := range []string{
		harness.ManifestPath("origin/app", "v1"), harness.OCI.Path("origin/app", content.Image.Digest),
		harness.ManifestPath("origin/app", content.Attached[0].Digest().String()), harness.BlobPath("origin/app", content.Layer.Digest),
	} {
		resp, err := r.Do(t.Context(), harness.Request{Method: http.MethodGet, Path: path, Header: harness.Header(harness.AcceptAll)})
		switch {
		case err != nil:
			t.Errorf("GET %s: %v", path, err)
		case resp.Status == http.StatusOK && strings.Contains(path, "/referrers/"):
			content.Whole(t, harness.OCI, harness.Digests(harness.OCI.Entries(resp)))
		case resp.Status != http.StatusOK && resp.Status != http.StatusInternalServerError && resp.Status != http.StatusServiceUnavailable:
			t.Error(resp)
		case resp.Status != http.StatusOK && strings.Contains(string(resp.Body), "origin of this"):
			t.Errorf("the storage fails, and the client is told that the origin does: %s", resp)
		}
	}
	hit = len(driver.Hit()) > 0
	failed := driver.Hit()
	driver.Plan(nil)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(failed)
		}
	})
	content.Pull(t, r.For(t), "origin/app")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	WholeBlobs(t, tree)
	return hit && !t.Failed()
}
