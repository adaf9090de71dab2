package faults

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// drivers makes an empty storage of each kind.
func drivers(t *testing.T) map[string]storagedriver.StorageDriver {
	t.Helper()
	return map[string]storagedriver.StorageDriver{
		"filesystem": filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 100}),
		"inmemory":   inmemory.New(),
		"objects":    faultdriver.NewObjects("objects"),
	}
}

// operations are the operations of a request. Background writes of the index, and what
// replicas and collectors tell each other, are not part of any request.
func operations(t *testing.T, driver *faultdriver.Driver, act func() *harness.Response) []string {
	t.Helper()
	driver.Reset()
	if response := act(); response.Status/100 != 2 {
		t.Fatal(response)
	}
	var list []string
	for _, o := range driver.Operations() {
		if !strings.Contains(o.Path, "/_refs/derived/") && !strings.HasPrefix(o.Path, layout.Collection) {
			list = append(list, o.String())
		}
	}
	return list
}

// A push with a subject costs two storage operations more than the same push without,
// and an ORAS artifact, whose subject must exist, three: the first and every further
// time, and however many referrers the subject has.
func TestOperationsOfPush(t *testing.T) {
	t.Parallel()
	for name, store := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := faultdriver.New(store)
			r := inprocess.Start(t, driver, inprocess.Options{})
			image := r.PushImage(repository, "v1", "layer")
			blob := r.PushBlob(repository, []byte("{}"))
			kinds := map[string]harness.Manifest{
				"image":         harness.OCIImage(blob, blob),
				"index":         harness.OCIIndex(image),
				"ORAS artifact": harness.ORASArtifact("sbom/example", blob),
				"OCI artifact":  harness.OCIArtifact("sbom/example", blob),
			}
			for _, referrers := range []int{1, 60} {
				for i := range referrers {
					r.MustPush(repository, "", harness.ORASArtifact("sbom/example").To(image).Annotated("i", fmt.Sprint(i)))
				}
				for kind, m := range kinds {
					m = m.Annotated("beside", fmt.Sprint(referrers))
					for _, tag := range []string{"", "tag"} {
						m = m.Annotated("pushed as", tag)
						for _, round := range []string{"first", "second", "third"} {
							what := fmt.Sprintf("%s, %s push as %q beside %d", kind, round, tag, referrers)
							without := operations(t, driver, func() *harness.Response { return r.For(t).Push(repository, tag, m) })
							with := operations(t, driver, func() *harness.Response { return r.For(t).Push(repository, tag, m.To(image)) })
							more := 2
							if kind == "ORAS artifact" {
								more = 3
							}
							if len(with) > len(without)+more {
								t.Errorf("%s: %d operations with a subject, %d without:\n%s\n%s", what, len(with), len(without),
									strings.Join(with, "\n"), strings.Join(without, "\n"))
							}
						}
					}
				}
			}
		})
	}
}

// Requests that do not involve referrers cost the same operations as with
// distribution.
func TestOperationsWithoutSubject(t *testing.T) {
	t.Parallel()
	ours, theirs := drivers(t), drivers(t)
	for name := range ours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			our, their := faultdriver.New(ours[name]), faultdriver.New(theirs[name])
			r := inprocess.Start(t, our, inprocess.Options{})
			stock := inprocess.Stock(t, their, inprocess.Options{})
			for _, each := range []*inprocess.Registry{r, stock} {
				each.PushImage(repository, "v1", "layer")
			}
			blob := r.PushBlob(repository, []byte("{}"))
			stock.PushBlob(repository, []byte("{}"))
			for _, m := range []harness.Manifest{
				harness.OCIImage(blob, blob), harness.OCIIndex(r.PushImage(repository, "v1", "layer")), harness.DockerImage(blob, blob),
			} {
				byDigest, byTag := harness.ManifestPath(repository, m.Digest().String()), harness.ManifestPath(repository, "tag")
				for i, request := range []harness.Request{
					{Method: http.MethodPut, Path: byDigest, Body: m.Bytes(), Header: harness.Header("Content-Type: " + m.ContentType)},
					{Method: http.MethodPut, Path: byTag, Body: m.Bytes(), Header: harness.Header("Content-Type: " + m.ContentType)},
					{Method: http.MethodPut, Path: byTag, Body: m.Bytes(), Header: harness.Header("Content-Type: " + m.ContentType)},
					{Method: http.MethodGet, Path: byDigest, Header: harness.Header(harness.AcceptAll)},
					{Method: http.MethodGet, Path: byTag, Header: harness.Header(harness.AcceptAll)},
					{Method: http.MethodHead, Path: byTag, Header: harness.Header(harness.AcceptAll)},
					{Method: http.MethodGet, Path: harness.BlobPath(repository, blob.Digest)},
					{Method: http.MethodGet, Path: "/v2/" + repository + "/tags/list"},
				} {
					cost := func(driver *faultdriver.Driver, r *inprocess.Registry) []string {
						return operations(t, driver, func() *harness.Response {
							response, err := r.For(t).Do(t.Context(), request)
							if err != nil {
								t.Fatal(err)
							}
							return response
						})
					}
					got, want := cost(our, r), cost(their, stock)
					slices.Sort(got)
					slices.Sort(want)
					if !slices.Equal(got, want) {
						t.Errorf("%s, request %d, %s %s costs\n%s\nand with distribution\n%s", m.ContentType, i,
							request.Method, request.Path, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
			}
		})
	}
}
