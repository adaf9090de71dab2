// Package faults makes each storage operation of each kind of request go wrong in each
// way, and checks the result.
package faults

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

const repository = "team/app"

// world is a tree with an image that has referrers, and with everything else that
// manifests of all kinds need.
type world struct {
	tree         *faultdriver.Objects
	subject      harness.Descriptor // an image that is tagged "v1"
	config, blob harness.Descriptor
	before       []digest.Digest // the referrers of subject
}

// stores are the driver names that the object store pretends to have: code lists
// folders differently for the first one.
var stores = []string{"inmemory", "objects"}

func newWorld(t *testing.T, store string) *world {
	t.Helper()
	w := &world{tree: faultdriver.NewObjects(store)}
	r := inprocess.Start(t, w.tree, inprocess.Options{})
	w.subject = r.PushImage(repository, "v1", "a layer")
	w.config = r.PushBlob(repository, []byte(`{}`))
	w.config.MediaType = "application/vnd.example.config"
	w.blob = r.PushBlobAs(repository, []byte("a blob"), digest.SHA512)
	w.before = []digest.Digest{
		r.MustPush(repository, "", harness.ORASArtifact("sbom/example", w.blob).To(w.subject)).Digest,
		r.MustPush(repository, "", harness.OCIImage(w.config, w.blob).To(w.subject)).Digest,
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// kind is a kind of manifest that is pushed.
type kind struct {
	name     string
	manifest harness.Manifest
	tag      string // the tag that it is pushed by; empty: by digest
	referrer bool   // it refers to the subject
	artifact bool   // it is our code that stores it
}

func (k kind) reference() string {
	if k.tag != "" {
		return k.tag
	}
	return k.manifest.Digest().String()
}

func (w *world) kinds() []kind {
	docker := w.config
	docker.MediaType = harness.MediaTypeDockerConfig
	layer := w.blob
	layer.MediaType = harness.MediaTypeDockerLayer
	image := harness.OCIImage(w.config, w.blob).Annotated("is", "new")
	return []kind{
		{name: "image with subject", manifest: image.To(w.subject), referrer: true},
		{name: "image with subject by tag", manifest: image.To(w.subject), tag: "signature", referrer: true},
		{name: "index with subject", manifest: harness.OCIIndex(w.subject).To(w.subject), referrer: true},
		{name: "ORAS artifact", manifest: harness.ORASArtifact("signature/example", w.blob).To(w.subject), referrer: true, artifact: true},
		{name: "image without subject", manifest: image, tag: "v2"},
		{name: "OCI artifact", manifest: harness.OCIArtifact("signature/example", w.blob).To(w.subject), referrer: true, artifact: true},
		{name: "ORAS artifact by tag", manifest: harness.ORASArtifact("signature/example", w.blob).To(w.subject), tag: "signature", referrer: true, artifact: true},
		{name: "image with subject by sha512", manifest: image.To(w.subject).By(digest.SHA512), referrer: true, artifact: true},
		{name: "ORAS artifact by sha512", manifest: harness.ORASArtifact("signature/example", w.blob).To(w.subject).By(digest.SHA512), referrer: true, artifact: true},
		{name: "Docker image", manifest: harness.DockerImage(docker, layer), tag: "docker"},
	}
}

// eachKind runs a test for each kind of manifest, on the kinds of stores in turn.
func eachKind(t *testing.T, test func(t *testing.T, w *world, k kind)) {
	t.Helper()
	var worlds []*world
	for _, store := range stores {
		worlds = append(worlds, newWorld(t, store))
	}
	for i, k := range worlds[0].kinds() {
		w := worlds[i%len(worlds)]
		t.Run(k.name+" on "+w.tree.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, w, k)
		})
	}
}

// points counts the fault points tried. The total is printed at the end of the test.
type points struct{ tried atomic.Int64 }

func countPoints(t *testing.T, what string) *points {
	t.Helper()
	p := new(points)
	t.Cleanup(func() { t.Logf("%s: %d fault points tried", what, p.tried.Load()) })
	return p
}

// mode says what goes wrong: one operation, or all from there on.
type mode struct {
	fault  faultdriver.Fault
	outage bool
}

func (m mode) String() string {
	if m.outage {
		return "outage from"
	}
	return m.fault.String() + " at"
}

func modes() []mode {
	list := []mode{{faultdriver.Fail, true}}
	for _, fault := range faultdriver.Faults() {
		list = append(list, mode{fault, false})
	}
	return list
}

// sweep runs attempt once for each operation and each fault, until an attempt ends before
// it reaches the operation.
func (p *points) sweep(t *testing.T, tree *faultdriver.Objects, attempt func(t *testing.T, try *try)) {
	t.Helper()
	for _, mode := range modes() {
		for k := 1; ; k++ {
			y := &try{mode: mode, k: k, tree: tree.Clone()}
			y.driver = faultdriver.New(y.tree)
			t.Run(fmt.Sprintf("%s %d", mode, k), func(t *testing.T) { attempt(t, y) })
			if len(y.hit) == 0 {
				break
			}
			if k > 500 {
				t.Fatal("the operations do not end")
			}
			p.tried.Add(1)
		}
	}
}

// try is one attempt to do something while an operation goes wrong.
type try struct {
	mode
	k      int
	tree   *faultdriver.Objects
	driver *faultdriver.Driver
	hit    []faultdriver.Operation
	// meanwhile runs, where it is not nil, while an operation waits.
	meanwhile func()
}

// run calls act while the fault is planned. The context of act ends when an operation
// waits for that; left reports whether it did.
func (y *try) run(t *testing.T, act func(context.Context)) (left bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	y.driver.Reset()
	if y.outage {
		y.driver.FailFrom(y.k, y.fault)
	} else {
		y.driver.FailAt(y.k, y.fault)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		act(ctx)
	}()
	select {
	case <-y.driver.Waiting():
		left = true
		if y.meanwhile != nil {
			y.meanwhile()
		}
		cancel()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			stacks := make([]byte, 1<<20)
			t.Fatalf("%v: goes on without a client\n%s", y.driver.Hit(), stacks[:runtime.Stack(stacks, true)])
		}
	case <-ended:
	}
	y.hit = y.driver.Hit()
	y.driver.Reset()
	return left
}

// request sends a request that meets the fault. If an operation waits for the end of its
// context, the client disconnects; the response is nil if it got none by then.
func (y *try) request(t *testing.T, r *inprocess.Registry, request harness.Request) *harness.Response {
	t.Helper()
	var response *harness.Response
	var err error
	left := y.run(t, func(ctx context.Context) { response, err = r.For(t).Do(ctx, request) })
	switch {
	case err != nil && !left:
		t.Fatalf("%s %s: %v", request.Method, request.Path, err)
	case err != nil:
		return nil
	case !left:
		y.clear(t, request, response)
	}
	return response
}

// clear expects an answer to be a success, or a clear error of the server.
func (y *try) clear(t *testing.T, request harness.Request, response *harness.Response) {
	t.Helper()
	if response.Status/100 == 2 || gone(request, response) {
		return
	}
	if response.Status/100 != 5 {
		t.Errorf("%v: a fault of the storage is answered with %s", y.hit, response)
		return
	}
	if request.Method != http.MethodHead {
		response.ExpectError(response.Status, response.Errors()[0].Code)
	}
}

// gone reports whether the answer to a delete is that there is nothing to delete, as when
// the storage has done it and reported a failure.
func gone(request harness.Request, response *harness.Response) bool {
	return request.Method == http.MethodDelete && response != nil && response.Status == http.StatusNotFound
}

// ok reports whether a response is a success.
func ok(response *harness.Response) bool { return response != nil && response.Status/100 == 2 }

// pullable reports whether a manifest can be pulled, byte for byte.
func pullable(t *testing.T, r *inprocess.Registry, m harness.Manifest) bool {
	t.Helper()
	d := m.Digest()
	response := r.For(t).GetManifest(repository, d.String())
	switch response.Status {
	case http.StatusOK:
		if !bytes.Equal(response.Body, m.Bytes()) {
			t.Errorf("%s is served with other bytes: %s", d, response)
		}
		return true
	case http.StatusNotFound:
		return false
	case http.StatusInternalServerError: // half of a link or of the bytes is there
		return false
	}
	t.Errorf("neither pulled nor reported as absent: %s", response)
	return false
}

// listed reports whether the listing contains d. It expects the other entries to be the
// referrers from before, each once, and all entries to be pullable.
func (w *world) listed(t *testing.T, r *inprocess.Registry, d digest.Digest) bool {
	t.Helper()
	client := r.For(t)
	list := harness.Digests(client.Referrers(harness.OCI, repository, w.subject.Digest))
	for _, each := range list {
		if response := client.GetManifest(repository, each.String()); response.Status != http.StatusOK || each.Algorithm().FromBytes(response.Body) != each {
			t.Errorf("%s is listed, but: %s", each, response)
		}
	}
	sorted := slices.Sorted(slices.Values(list))
	if compact := slices.Compact(slices.Clone(sorted)); len(compact) != len(sorted) {
		t.Errorf("listed twice: %s", sorted)
	}
	found := slices.Contains(list, d)
	rest := slices.DeleteFunc(slices.Clone(sorted), func(each digest.Digest) bool { return each == d })
	want := slices.DeleteFunc(slices.Clone(w.before), func(each digest.Digest) bool { return each == d })
	if slices.Sort(want); !slices.Equal(rest, want) {
		t.Errorf("listed are %s, expected %s", rest, want)
	}
	return found
}

// replica is a second registry on the same tree, without faults.
func replica(t *testing.T, tree storagedriver.StorageDriver) *inprocess.Registry {
	t.Helper()
	return inprocess.Start(t, tree, inprocess.Options{})
}
