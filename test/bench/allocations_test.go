package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the driver of the configuration

	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/registry"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// sink is a connection that nobody reads.
type sink struct {
	header http.Header
	size   int
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(int)     {}
func (s *sink) Write(b []byte) (int, error) {
	s.size += len(b)
	return len(b), nil
}

// A listing that nothing has changed costs few allocations, beside one for each name.
func TestListingAllocations(t *testing.T) {
	root := t.TempDir()
	config, err := registry.ParseConfig(fmt.Appendf(nil, `{version: "0.1", log: {accesslog: {disabled: true}}, http: {secret: bench},
storage: {filesystem: {rootdirectory: %q}, maintenance: {uploadpurging: {enabled: false}}}}`, root))
	if err != nil {
		t.Fatal(err)
	}
	seed := harness.NewSeed(t, root, "app")
	subjects := map[int]harness.Descriptor{}
	for _, n := range []int{1, 10, 300} {
		image := harness.OCIImage(seed.Blob([]byte("{}"))).Annotated("image", fmt.Sprint(n))
		subjects[n] = seed.Manifest(image)
		for i := range n {
			seed.Referrer(harness.OCIIndex().Typed("a/b").To(subjects[n]).Annotated("number", fmt.Sprint(i)))
		}
	}
	r, err := registry.New(t.Context(), config, oci.New())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Shutdown(t.Context()) })
	for n, subject := range subjects {
		request := httptest.NewRequest(http.MethodGet, harness.OCI.Path("app", subject.Digest), nil)
		w := &sink{header: http.Header{}}
		if r.ServeHTTP(w, request); w.size < 100*n {
			t.Fatalf("%d bytes list %d referrers", w.size, n)
		}
		const most = 65
		if count := testing.AllocsPerRun(100, func() { r.ServeHTTP(w, request) }); count > float64(most+n) {
			t.Errorf("listing %d referrers costs %v allocations, at most %d are allowed", n, count, most+n)
		} else {
			t.Logf("listing %d referrers costs %v allocations", n, count)
		}
	}
}
