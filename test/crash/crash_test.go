//go:build !e2e

// Package crash_test kills the registry at random moments.
package crash_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
)

var (
	rounds  = flag.Int("crash.rounds", 100, "how many times the registry is killed")
	clients = flag.Int("crash.clients", 8, "how many clients push and delete meanwhile")
)

// life is the longest time from the moment the registry listens until it is killed. A
// push takes a few milliseconds.
const life = 120 * time.Millisecond

// perTree is the number of kills after which a new tree is used, so that checking all
// of it stays fast.
const perTree = 20

// tally counts what happened in all rounds.
type tally struct {
	kills, lost, repeated, listed, pulled int
	counts                                load.Counts
	faults, verified                      int
}

func TestWhatWasAcknowledgedOutlivesSIGKILL(t *testing.T) {
	var sum tally
	for sum.kills < *rounds && !t.Failed() {
		onOneTree(t, min(perTree, *rounds-sum.kills), &sum)
	}
	t.Logf("%d kills; %d pushes and %d deletions acknowledged; %d requests interrupted and repeated; "+
		"%d links lost with the power; %d referrers listed and %d manifests pulled afterwards; verified %d times, which found %d faults before a repair",
		sum.kills, sum.counts.Pushes, sum.counts.Deletes, sum.repeated, sum.lost, sum.listed, sum.pulled, sum.verified, sum.faults)
}

func onOneTree(t *testing.T, kills int, sum *tally) {
	r := harness.Start(t, harness.Options{})
	repo := load.NewRepository("crash/app", 4, r.Client())
	for round := range kills {
		wait := loadUntilGone(t, repo)
		time.Sleep(rand.N(life)) // the moment of the kill: nothing waits for it
		r.Kill()
		wait()
		sum.kills++
		if round%2 == 1 {
			sum.lost += losePower(t, r, repo)
		}
		if round%4 == 0 {
			sum.faults += repair(t, r)
			sum.verified++
		}
		r.Restart()
		repo.Clients = []*harness.Client{r.Client()}
		sum.listed += checkListings(t, repo)
		sum.repeated += repeat(t, repo)
		sum.listed += checkListings(t, repo)
		if round%4 == 2 {
			expectClean(t, r)
			sum.verified++
		}
		if t.Failed() {
			return
		}
	}
	sum.pulled += checkManifests(t, repo)
	if err := r.Stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	expectClean(t, r)
	sum.verified++
	counts := repo.Ledger.Counts()
	sum.counts.Pushes += counts.Pushes
	sum.counts.Deletes += counts.Deletes
}

// losePower removes some links of the index, as a power failure might, and returns how
// many.
func losePower(t *testing.T, r *harness.Registry, repo *load.Repository) (lost int) {
	t.Helper()
	for _, subject := range repo.Subjects {
		folder := filepath.Join(r.Root, layout.Referrers(repo.Name, subject.Digest, digest.Canonical))
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, link := range entries {
			if rand.IntN(4) > 0 {
				continue
			}
			if err := os.RemoveAll(filepath.Join(folder, link.Name())); err != nil {
				t.Fatal(err)
			}
			lost++
		}
	}
	return lost
}

var faults = regexp.MustCompile(`(\d+) faults?, (\d+) of them repaired`)

// repair runs `referrers verify --repair` after a kill, and returns how many faults it
// found.
func repair(t *testing.T, r *harness.Registry) (found int) {
	t.Helper()
	got := harness.Run(t, "referrers", "verify", "--repair", r.Config)
	match := faults.FindStringSubmatch(got.Stdout)
	if got.Exit != 0 || match == nil || match[1] != match[2] {
		t.Errorf("verify --repair after a kill: %+v", got)
		return 0
	}
	expectClean(t, r)
	found, _ = strconv.Atoi(match[1])
	return found
}

// expectClean expects `referrers verify` to find nothing.
func expectClean(t *testing.T, r *harness.Registry) {
	t.Helper()
	if got := harness.Run(t, "referrers", "verify", r.Config); got.Exit != 0 || !strings.Contains(got.Stdout, " 0 faults") {
		t.Errorf("verify after everything was repeated or repaired: %+v", got)
	}
}

// loadUntilGone lets clients push and delete until the registry is gone. The function
// that it returns waits for them.
func loadUntilGone(t *testing.T, repo *load.Repository) (wait func()) {
	var group sync.WaitGroup
	for range *clients {
		group.Go(func() {
			ctx := context.Background()
			var own []harness.Manifest
			for {
				subject := repo.Subjects[rand.IntN(len(repo.Subjects))]
				m := repo.Referrer(subject)
				if m.ContentType == harness.MediaTypeORASArtifact { // with a blob of its own
					blob, err := repo.Any().TryPushBlob(ctx, repo.Name, m.Bytes())
					if err != nil {
						return
					}
					m.Blobs = []harness.Descriptor{blob}
				}
				if err := repo.Push(ctx, repo.Any(), m); err != nil {
					expectConnectionError(t, err)
					return
				}
				own = append(own, m)
				if rand.IntN(3) == 0 {
					i := rand.IntN(len(own))
					if err := repo.Delete(ctx, repo.Any(), own[i].Digest()); err != nil {
						expectConnectionError(t, err)
						return
					}
					own = append(own[:i], own[i+1:]...)
				}
			}
		})
	}
	return group.Wait
}

// checkListings lists all subjects by all routes: no acknowledged push is missing, and
// nothing deleted is listed. It returns how many referrers were listed.
func checkListings(t *testing.T, repo *load.Repository) (listed int) {
	t.Helper()
	for _, subject := range repo.Subjects {
		for _, route := range harness.Routes() {
			all, err := repo.List(t.Context(), route, subject.Digest, 0)
			if err != nil {
				t.Error(err)
			}
			listed += len(all)
		}
	}
	return listed
}

// repeat repeats the requests that the kill has interrupted. Instead of every other
// deletion, it pushes the manifest.
func repeat(t *testing.T, repo *load.Repository) (count int) {
	t.Helper()
	pushes, deletes := repo.Ledger.Unanswered()
	for i, m := range deletes {
		if i%2 == 1 {
			pushes = append(pushes, m)
		} else if err := repo.DeleteAgain(t.Context(), repo.Any(), m.Digest()); err != nil {
			t.Error(err)
		}
	}
	for _, m := range pushes {
		if err := repo.Push(t.Context(), repo.Any(), m); err != nil {
			t.Error(err)
		}
	}
	return len(pushes) + len(deletes)
}

// checkManifests pulls all manifests that must exist, and their own blobs.
func checkManifests(t *testing.T, repo *load.Repository) (count int) {
	t.Helper()
	present := repo.Ledger.Present()
	for _, m := range present {
		if there, err := repo.Get(t.Context(), repo.Any(), m.Digest()); err != nil || !there {
			t.Errorf("%s was acknowledged and cannot be pulled: %v", m.Digest(), err)
		}
		for _, blob := range m.Blobs {
			repo.Any().Head(harness.BlobPath(repo.Name, blob.Digest)).Expect(http.StatusOK)
		}
	}
	if len(present) == 0 {
		t.Error("nothing was acknowledged")
	}
	return len(present)
}

// expectConnectionError expects that a request failed because the registry was gone, and
// not because of its answer.
func expectConnectionError(t *testing.T, err error) {
	t.Helper()
	if !errors.As(err, new(*url.Error)) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
