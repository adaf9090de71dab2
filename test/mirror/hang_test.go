package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// promptly is how long anything may take that need not wait for the storage. An origin is waited
// for longer.
const promptly = 20 * time.Second

// wanted is something that clients ask a mirror for.
type wanted struct {
	name string
	path func(repository string, c *Content) string
	// check is what an answer with status 200 must have.
	check func(c *Content, resp *harness.Response) error
}

// wants are a manifest by its tag, a blob, and the list of each route.
func wants() []wanted {
	body := func(of func(c *Content) []byte) func(*Content, *harness.Response) error {
		return func(c *Content, resp *harness.Response) error {
			if string(resp.Body) != string(of(c)) {
				return errors.New("these are other bytes")
			}
			return nil
		}
	}
	list := []wanted{{
		"tag", func(repository string, _ *Content) string { return harness.ManifestPath(repository, "v1") },
		body(func(c *Content) []byte { return c.ImageBytes }),
	}, {
		"blob", func(repository string, c *Content) string { return harness.BlobPath(repository, c.Layer.Digest) },
		body(func(c *Content) []byte { return c.LayerBytes }),
	}}
	for _, route := range harness.Routes() {
		list = append(list, wanted{
			route.Name, func(repository string, c *Content) string { return route.Path(repository, c.Image.Digest) },
			func(c *Content, resp *harness.Response) error {
				return c.isWhole(route, harness.Digests(route.Entries(resp)))
			},
		})
	}
	return list
}

// get asks for it. The error is nil if the answer is right.
func (w wanted) get(ctx context.Context, client *harness.Client, repository string, c *Content) error {
	resp, err := client.Do(ctx, harness.Request{Method: http.MethodGet, Path: w.path(repository, c), Header: harness.Header(harness.AcceptAll)})
	switch {
	case err != nil:
	case resp.Status != http.StatusOK:
		err = resp.Err()
	case strconv.Itoa(len(resp.Body)) != resp.Header.Get("Content-Length"):
		err = io.ErrUnexpectedEOF // which clients notice
	}
	if err == nil {
		if wrong := w.check(c, resp); wrong != nil {
			err = wrongError{wrong}
		}
	}
	return err
}

// wrongError is the error for an answer that is not true.
type wrongError struct{ error }

// hanging is a mirror on a storage that hangs, and what it mirrors.
type hanging struct {
	origin         *Origin
	content, other *Content
	trees          map[string]*faultdriver.Objects // by the state of the mirror; all have the other content
}

func newHanging(t *testing.T) *hanging {
	t.Helper()
	h := &hanging{origin: NewOrigin(t), trees: map[string]*faultdriver.Objects{}}
	h.content, h.other = Push(h.origin.Client, "app"), Push(h.origin.Client, "other")
	for _, state := range []string{cold, warm} {
		tree := faultdriver.NewObjects("objects")
		r := h.on(t, faultdriver.New(tree), "")
		h.other.Pull(t, r.Client, "origin/other")
		if state == warm {
			h.content.Pull(t, r.Client, "origin/app")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		h.trees[state] = tree
	}
	return h
}

func (h *hanging) on(t *testing.T, driver *faultdriver.Driver, keys string) *inprocess.Registry {
	t.Helper()
	return inprocess.Start(t, driver, inprocess.Options{Mirror: harness.Configf("{upstreams: {origin: {url: %s, ttl: 1h, %s}}}", h.origin.URL, keys)})
}

// hangAt makes the n-th operation hang that requests cause, or those from there on, without some.
func hangAt(driver *faultdriver.Driver, n int, outage bool, except ...faultdriver.Operation) {
	var asked atomic.Int64
	driver.Plan(func(_ int, o faultdriver.Operation) faultdriver.Fault {
		if strings.Contains(o.Path, "/_refs/derived/") || strings.HasPrefix(o.Path, layout.Collection) || slices.Contains(except, o) {
			return faultdriver.None
		}
		if at := int(asked.Add(1)); at == n || at > n && outage {
			return faultdriver.Hang
		}
		return faultdriver.None
	})
}

// Whatever storage operation of a pull hangs, the request ends when its client goes away, requests
// for other content are answered, and when the storage goes on, the same request is answered. No
// answer is ever wrong.
func TestHangingStorage(t *testing.T) {
	h := newHanging(t)
	for _, state := range []string{cold, warm} {
		for i, w := range wants() {
			t.Run(state+" "+w.name, func(t *testing.T) {
				t.Parallel()
				first, step := 1, 1
				if i > 2 { // the routes differ only in how they list
					first, step = i-1, 3
				}
				hung := 0
				for n := first; h.hang(t, w, state, n, n%2 == 0); n += step {
					hung++
				}
				if hung == 0 {
					t.Error("nothing hung")
				}
			})
		}
	}
}

// hang hangs at the n-th operation. It reports whether there was one.
func (h *hanging) hang(t *testing.T, w wanted, state string, n int, outage bool) bool {
	t.Helper()
	tree := h.trees[state].Clone()
	driver := faultdriver.New(tree)
	r := h.on(t, driver, "")
	h.other.Pull(t, r.For(t), "origin/other")
	var operation faultdriver.Operation
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s at operation %d, outage %t: %s", operation, n, outage, fmt.Sprintf(format, args...))
	}
	hangAt(driver, n, outage)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	ended := make(chan error, 1)
	go func() { ended <- w.get(ctx, r.For(t), "origin/app", h.content) }()
	answered := false
	for operation.Method == "" && (!answered || !h.stored(tree, w)) {
		select {
		case operation = <-driver.Waiting():
		case err := <-ended:
			answered = true
			if err != nil {
				fail("%v", err)
			}
		case <-time.After(time.Millisecond): // what is stored is looked for again
		}
	}
	hung := operation.Method != ""
	if hung {
		h.whileHanging(t, r, w, outage, fail)
		leave()
		if !answered {
			select {
			case err := <-ended:
				if errors.As(err, new(wrongError)) {
					fail("%v", err)
				}
			case <-time.After(promptly):
				fail("the request does not end without its client")
			}
		}
	}
	driver.Continue()
	soon, cancel := context.WithTimeout(t.Context(), promptly)
	defer cancel()
	if err := w.get(soon, r.For(t), "origin/app", h.content); err != nil {
		fail("the storage goes on, and: %v", err)
	}
	h.content.Pull(t, r.For(t), "origin/app")
	if err := r.Close(); err != nil {
		fail("closing: %v", err)
	}
	WholeBlobs(t, tree)
	return hung && !t.Failed()
}

// whileHanging asks for the same, which may wait, and for other content, which does not.
func (h *hanging) whileHanging(t *testing.T, r *inprocess.Registry, w wanted, outage bool, fail func(string, ...any)) {
	t.Helper()
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.get(impatient, r.For(t), "origin/app", h.content); errors.As(err, new(wrongError)) {
		fail("meanwhile: %v", err)
	}
	if outage {
		return
	}
	for _, other := range wants() {
		soon, cancel := context.WithTimeout(t.Context(), promptly)
		if err := other.get(soon, r.For(t), "origin/other", h.other); err != nil {
			fail("the other %s: %v", other.name, err)
		}
		cancel()
	}
}

// stored reports whether nothing is being stored any more for something that was answered.
func (h *hanging) stored(tree *faultdriver.Objects, w wanted) bool {
	if w.name != "blob" {
		return true
	}
	stored := false
	for _, file := range tree.Files() {
		if strings.HasPrefix(file, path.Dir(layout.Upload("origin/app", "x"))) {
			return false
		}
		stored = stored || file == layout.LayerLink("origin/app", h.content.Layer.Digest)
	}
	return stored
}

// A storage operation that never ends, as on a connection that is lost, does not keep what it was
// for from being served forever.
func TestLostStorageOperations(t *testing.T) {
	h := newHanging(t)
	for i, w := range wants() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			first, step := 1, 1
			if i > 1 { // the routes differ only in how they list; and some operations are waited for
				first, step = i-1, 4
			}
			lost := 0
			for n := first; h.lose(t, w, n); n += step {
				lost++
			}
			if lost == 0 {
				t.Error("nothing is lost")
			}
		})
	}
}

// lose loses the n-th operation. It reports whether there was one.
func (h *hanging) lose(t *testing.T, w wanted, n int) bool {
	t.Helper()
	tree := h.trees[cold].Clone()
	driver := faultdriver.New(tree)
	r := h.on(t, driver, "timeout: 100ms")
	var reads []faultdriver.Operation // of the index, which gives them up itself, but later
	for _, algorithm := range layout.Algorithms() {
		reads = append(reads, faultdriver.Operation{Method: "List", Path: layout.Revisions("origin/app") + "/" + algorithm.String()})
	}
	hangAt(driver, n, false, reads...)
	soon, cancel := context.WithTimeout(t.Context(), promptly)
	defer cancel()
	for {
		// A client that is not patient asks again and again.
		impatient, leave := context.WithTimeout(soon, 100*time.Millisecond)
		err := w.get(impatient, r.For(t), "origin/app", h.content)
		leave()
		if err == nil {
			break
		}
		if errors.As(err, new(wrongError)) || soon.Err() != nil {
			t.Fatalf("%v is lost: %v", driver.Hit(), err)
		}
	}
	for !h.stored(tree, w) && len(driver.Hit()) == 0 {
		select {
		case <-driver.Waiting():
		case <-time.After(time.Millisecond): // what is stored is looked for again
		case <-soon.Done():
			t.Fatal("it is not stored")
		}
	}
	lost := len(driver.Hit()) > 0
	if err := r.Close(); err != nil {
		t.Errorf("%v is lost; closing: %v", driver.Hit(), err)
	}
	WholeBlobs(t, tree)
	return lost && !t.Failed()
}
