//go:build soak

// Package soak_test puts the registry under load for SOAK_TIME, and watches its use of
// resources.
package soak_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
)

const (
	// clients work at the same time, each with at most keep referrers of its own.
	clients, keep = 8, 100
	// rounds is how often the figures are recorded and the tree is collected.
	rounds = 10
	// spared is the age below which a collection keeps a manifest: a push takes less.
	spared = 10 * time.Second
)

func TestSoak(t *testing.T) {
	lasting, err := time.ParseDuration(os.Getenv("SOAK_TIME"))
	if err != nil {
		t.Fatalf("SOAK_TIME: %v", err)
	}
	// A cache that is soon full: later growth is not the cache filling up.
	r := harness.Start(t, harness.Options{Config: "log: {accesslog: {disabled: true}}\nextensions: {referrers: {cachesize: 4194304}}"})
	repo := load.NewRepository("soak/app", 8, r.Client())
	workers := make([]*worker, clients)
	for i := range workers {
		workers[i] = &worker{repo: repo, client: r.Client(), name: fmt.Sprintf("soak/churn%d", i)}
	}
	t.Logf("round   requests   pushes  deletes  listings  entries      RSS  open files  tree    collected")
	var taken []figures
	for round := range rounds {
		collected := work(t, r, workers, lasting/rounds)
		taken = append(taken, take(t, r, workers))
		f, counts := taken[round], repo.Ledger.Counts()
		t.Logf("%5d  %9d  %7d  %7d  %8d  %7d  %4d MiB  %10d  %d MiB  %s", round+1, f.requests, counts.Pushes, counts.Deletes,
			counts.Listings, counts.Entries, f.rss>>20, f.files, f.tree>>20, collected)
	}
	expectFlat(t, taken)
	if err := r.Stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	for line := range strings.Lines(r.Log()) {
		if strings.Contains(line, "level=error") || strings.Contains(line, "panic") {
			t.Errorf("logged: %s", line)
		}
	}
	for _, args := range [][]string{
		{"referrers", "verify", r.Config}, {"garbage-collect", "--delete-untagged", r.Config}, {"referrers", "verify", r.Config},
	} {
		if got := harness.Run(t, args...); got.Exit != 0 {
			t.Errorf("%s: %+v", args, got)
		}
	}
	r.Restart()
	for _, subject := range repo.Subjects {
		if _, err := repo.List(t.Context(), harness.OCI, subject.Digest, 0, r.Client()); err != nil {
			t.Errorf("after a collection and a restart: %v", err)
		}
	}
}

// work lets the workers run for a while and collects the tree meanwhile. It returns the
// output of the collection.
func work(t *testing.T, r *harness.Registry, workers []*worker, lasting time.Duration) (collected string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	group, groupCtx := errgroup.WithContext(t.Context())
	for _, w := range workers {
		group.Go(func() error {
			for ctx.Err() == nil && groupCtx.Err() == nil {
				if err := w.once(groupCtx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	got := harness.Run(t, "garbage-collect", "--delete-untagged", "--older-than", spared.String(), r.Config)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got.Exit != 0 {
		t.Fatalf("garbage-collect under load: %+v", got)
	}
	lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
	return lines[len(lines)-1]
}

// worker is one client of the registry.
type worker struct {
	repo     *load.Repository
	client   *harness.Client
	name     string // of its own repository, whose image is replaced all the time
	own      []harness.Manifest
	requests int
}

// once sends one of the requests of clients.
func (w *worker) once(ctx context.Context) error {
	w.requests++
	subject := w.repo.Subjects[rand.IntN(len(w.repo.Subjects))]
	switch dice := rand.IntN(20); {
	case dice < 6 && len(w.own) < keep:
		m := w.repo.Referrer(subject)
		w.own = append(w.own, m)
		return w.repo.Push(ctx, w.client, m)
	case dice < 8 && len(w.own) > 0 || len(w.own) == keep:
		i := rand.IntN(len(w.own))
		d := w.own[i].Digest()
		w.own = append(w.own[:i], w.own[i+1:]...)
		return w.repo.Delete(ctx, w.client, d)
	case dice < 14:
		route := harness.Routes()[rand.IntN(3)]
		_, err := w.repo.List(ctx, route, subject.Digest, rand.IntN(2)*(1+rand.IntN(50)), w.client)
		return err
	case dice < 18 && len(w.own) > 0:
		there, err := w.repo.Get(ctx, w.client, w.own[rand.IntN(len(w.own))].Digest())
		if err == nil && !there {
			err = errors.New("a referrer that was not deleted is gone")
		}
		return err
	default:
		return w.replace(ctx)
	}
}

// replace pushes another image under the tag of its repository, and a signature of it.
// The collector removes the previous image and its signature.
func (w *worker) replace(ctx context.Context) error {
	layer := make([]byte, 64<<10)
	copy(layer, fmt.Sprint(w.name, rand.Int64()))
	desc, err := w.client.TryPushBlob(ctx, w.name, layer)
	if err != nil {
		return err
	}
	image := harness.OCIImage(desc, desc)
	signature := harness.ORASArtifact("test/signature", desc).To(image.Descriptor())
	if err := w.put(ctx, "latest", image); err != nil {
		return err
	}
	if err := w.put(ctx, signature.Digest().String(), signature); err != nil {
		return err
	}
	resp, err := w.client.Do(ctx, harness.Request{Method: http.MethodGet, Path: harness.OCI.Path(w.name, image.Digest())})
	if err != nil {
		return err
	}
	if !strings.Contains(string(resp.Body), signature.Digest().String()) {
		return fmt.Errorf("a new image's signature is not listed: %w", resp.Err())
	}
	return nil
}

func (w *worker) put(ctx context.Context, reference string, m harness.Manifest) error {
	resp, err := w.client.Do(ctx, harness.Request{
		Method: http.MethodPut, Path: harness.ManifestPath(w.name, reference),
		Header: harness.Header("Content-Type: " + m.ContentType), Body: m.Bytes(),
	})
	if err == nil && resp.Status != http.StatusCreated {
		err = resp.Err()
	}
	return err
}

// figures is the registry's use of resources while there are no requests.
type figures struct {
	requests, files int
	rss, tree       int64 // bytes
}

func take(t *testing.T, r *harness.Registry, workers []*worker) (f figures) {
	t.Helper()
	for _, w := range workers {
		f.requests += w.requests
		w.client.HTTP.CloseIdleConnections()
	}
	proc := filepath.Join("/proc", strconv.Itoa(r.PID()))
	status, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(status))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	f.rss = pages * int64(os.Getpagesize())
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	f.files = len(files)
	err = filepath.WalkDir(r.Root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			f.tree += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// expectFlat expects the second half of the figures to be no larger than the first. The
// first round is the warm-up.
func expectFlat(t *testing.T, taken []figures) {
	t.Helper()
	half := len(taken) / 2
	var first, second figures
	for i, f := range taken[1:] {
		into := &first
		if i >= half {
			into = &second
		}
		into.rss, into.files = max(into.rss, f.rss), max(into.files, f.files)
	}
	t.Logf("largest RSS: %d MiB, then %d MiB; most open files: %d, then %d", first.rss>>20, second.rss>>20, first.files, second.files)
	if second.rss > first.rss+first.rss/4+(8<<20) {
		t.Errorf("the memory grows")
	}
	if second.files > first.files+clients {
		t.Errorf("the open files grow")
	}
}
