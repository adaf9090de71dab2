//go:build !e2e

package online_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

const repository = "team/app"

// A replica that is left alone lists the runs and the registrations once in each pace, and
// does nothing else.
func TestOperationsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := faultdriver.New(faultdriver.NewObjects("objects"))
		began := time.Now()
		r := collection.NewReplica(driver, collection.Options{
			Pace: collection.Pace(time.Second), Clock: func() time.Duration { return time.Since(began) },
		})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		driver.Reset()
		const paces = 100
		time.Sleep(paces*time.Second + time.Millisecond)
		synctest.Wait()
		got := driver.Operations()
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		times := map[string]int{}
		for _, o := range got {
			times[o.Method+" "+path.Dir(o.Path)]++
		}
		want := map[string]int{"List " + layout.Collection: paces}
		if !maps.Equal(times, want) {
			t.Errorf("operations in %d paces: %v, want %v", paces, times, want)
		}
	})
}

// Without a run, requests cost the operations that they cost with distribution.
func TestOperationsOfRequestsAtRest(t *testing.T) {
	t.Parallel()
	our, their := faultdriver.New(faultdriver.NewObjects("objects")), faultdriver.New(faultdriver.NewObjects("objects"))
	ours, theirs := inprocess.Start(t, our, inprocess.Options{}), inprocess.Stock(t, their, inprocess.Options{})
	image := ours.PushImage(repository, "v1", "layer")
	theirs.PushImage(repository, "v1", "layer")
	for _, request := range requests(image) {
		got, _ := cost(t, our, ours, request)
		want, _ := cost(t, their, theirs, request)
		slices.Sort(got)
		slices.Sort(want)
		if len(got) > len(want) {
			t.Errorf("%s %s costs\n%s\nand with distribution\n%s", request.Method, request.Path, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// requests are requests of each kind, for the image that harness.Client.PushImage has
// pushed.
func requests(image harness.Descriptor) []harness.Request {
	layer := harness.BlobDescriptor([]byte("layer"))
	config := harness.BlobDescriptor([]byte(`{"architecture":"amd64","os":"linux"}`))
	m := harness.OCIImage(config, layer).Annotated("number", "2")
	accept, typed := harness.Header(harness.AcceptAll), harness.Header("Content-Type: "+m.ContentType)
	return []harness.Request{
		{Method: http.MethodHead, Path: harness.BlobPath(repository, layer.Digest)},
		{Method: http.MethodGet, Path: harness.BlobPath(repository, layer.Digest)},
		{Method: http.MethodHead, Path: harness.ManifestPath(repository, image.Digest.String()), Header: accept},
		{Method: http.MethodGet, Path: harness.ManifestPath(repository, image.Digest.String()), Header: accept},
		{Method: http.MethodGet, Path: harness.ManifestPath(repository, "v1"), Header: accept},
		{Method: http.MethodPut, Path: harness.ManifestPath(repository, m.Digest().String()), Header: typed, Body: m.Bytes()},
		{Method: http.MethodPut, Path: harness.ManifestPath(repository, "v2"), Header: typed, Body: m.Bytes()},
		{Method: http.MethodPost, Path: "/v2/" + repository + "/blobs/uploads/?" + url.Values{"mount": {layer.Digest.String()}, "from": {repository}}.Encode()},
		{Method: http.MethodPost, Path: "/v2/" + repository + "/blobs/uploads/"},
	}
}

// cost are the operations of a request, and apart from them those that tell collectors what
// is used. What a replica does in the background is not among them.
func cost(t *testing.T, driver *faultdriver.Driver, r *inprocess.Registry, request harness.Request) (operations, marks []string) {
	t.Helper()
	driver.Reset()
	response, err := r.For(t).Do(t.Context(), request)
	if err != nil || response.Status/100 != 2 {
		t.Fatalf("%v: %v", err, response)
	}
	for _, o := range driver.Operations() {
		switch {
		case strings.Contains(o.Path, "/_refs/derived/"):
		case strings.Contains(o.Path, layout.Active+"/") && (strings.Contains(o.Path, "/marks/") || strings.HasSuffix(o.Path, "/seal")):
			marks = append(marks, o.String())
		case !strings.HasPrefix(o.Path, layout.Active): // or of its background
			operations = append(operations, o.String())
		}
	}
	return operations, marks
}

// During a run, the first use of each candidate costs two operations, and everything else
// none.
func TestOperationsDuringARun(t *testing.T) {
	t.Parallel()
	store := faultdriver.NewObjects("objects")
	driver := faultdriver.New(store)
	before := inprocess.Start(t, driver, inprocess.Options{})
	image := before.PushImage(repository, "v1", "layer")
	garbage := before.PushBlob(repository, []byte("garbage"))
	if err := before.Close(); err != nil { // what was used is forgotten
		t.Fatal(err)
	}
	r := inprocess.Start(t, driver, inprocess.Options{Pace: time.Second})
	atRest := map[string][]string{}
	for _, request := range requests(image) {
		atRest[request.Method+request.Path], _ = cost(t, driver, r, request)
	}

	end := beginRun(t, store, driver)
	defer end()

	for _, request := range requests(image) {
		got, marks := cost(t, driver, r, request)
		if want := atRest[request.Method+request.Path]; len(got) > len(want) || len(marks) > 0 {
			t.Errorf("%s %s of what is no candidate costs %d operations, and %d with\n%s\n%s", request.Method, request.Path, len(want), len(got)+len(marks),
				strings.Join(got, "\n"), strings.Join(marks, "\n"))
		}
	}
	head := harness.Request{Method: http.MethodHead, Path: harness.BlobPath(repository, garbage.Digest)}
	const candidates = 2 // the link and the bytes
	if _, marks := cost(t, driver, r, head); len(marks) != 2*candidates {
		t.Errorf("the first use of %d candidates costs %q", candidates, marks)
	}
	if _, marks := cost(t, driver, r, head); len(marks) > 0 {
		t.Errorf("the second use costs %q", marks)
	}
}

// beginRun begins a run, and returns when the registry over driver has agreed to it. It
// does not go on, because another registry never does.
func beginRun(t *testing.T, store storagedriver.StorageDriver, driver *faultdriver.Driver) (end func()) {
	t.Helper()
	if err := store.PutContent(t.Context(), layout.Replica("other"), []byte("other")); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(chan struct{}, 1)
	driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
		if o.Method == "PutContent" && strings.Contains(o.Path, "/acks/") {
			acknowledged <- struct{}{}
		}
		return faultdriver.None
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := collection.Collect(ctx, store, collection.RunOptions{Options: collection.Options{Pace: collection.Pace(time.Second)}})
		ended <- err
	}()
	<-acknowledged
	return func() {
		cancel()
		<-ended
	}
}
