package promises_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
)

// A repair and a rebuild beside a serving registry bring back nothing that was deleted,
// hide nothing even for a moment, and find no fault with good links. Neither does verify.
func TestRepairBesideClients(t *testing.T) {
	t.Parallel()
	const subjects, each = 12, 200
	r := harness.Start(t, harness.Options{})
	repo := load.NewRepository("app", subjects, r.Client())
	seeded := fill(t, r, repo, each)
	expectRight(t, "before", repo, r.Client())

	ctx, stop := context.WithCancel(t.Context())
	var group errgroup.Group
	for worker := range workers {
		group.Go(func() error { return replace(ctx, repo, seeded, worker) })
	}
	group.Go(func() error { return watch(ctx, repo) })
	for _, command := range []string{"verify --repair", "rebuild", "verify --repair"} {
		before := repo.Ledger.Present()
		done := harness.Run(t, append(strings.Fields("referrers "+command), r.Config)...)
		expectNoFault(t, repo, before, done.Stdout)
	}
	for range 15 {
		if done := harness.Run(t, "referrers", "verify", r.Config); done.Exit != 0 {
			t.Errorf("verify: %+v", done)
		}
	}
	stop()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", repo.Ledger.Counts())
	expectRight(t, "afterwards", repo, r.Client())
	expectRight(t, "in a new process", repo, beside(t, r, harness.Options{}).Client())
}

// workers is how many clients replace referrers.
const workers = 4

// fill attaches referrers to each subject of a repository, and returns them by subject.
func fill(t *testing.T, r *harness.Registry, repo *load.Repository, each int) [][]harness.Manifest {
	t.Helper()
	seed := harness.NewSeed(t, r.Root, repo.Name)
	seeded := make([][]harness.Manifest, len(repo.Subjects))
	seed.Many(len(seeded), func(i int) {
		for range each {
			m := repo.Referrer(repo.Subjects[i])
			repo.Ledger.Pushing(m)
			seed.Referrer(m)
			repo.Ledger.Pushed(m.Digest())
			seeded[i] = append(seeded[i], m)
		}
	})
	return seeded
}

// expectRight expects the listings of all subjects to be what the Ledger says.
func expectRight(t *testing.T, when string, repo *load.Repository, c *harness.Client) {
	t.Helper()
	var first error
	wrong := 0
	for _, subject := range repo.Subjects {
		if _, err := repo.List(t.Context(), harness.OCI, subject.Digest, 0, c); err != nil {
			wrong, first = wrong+1, cmp.Or(first, err)
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d listings are wrong, the first: %v", when, wrong, len(repo.Subjects), first)
	}
}

// replace deletes existing referrers and pushes new ones, until ctx ends. Each worker has
// its own subjects.
func replace(ctx context.Context, repo *load.Repository, seeded [][]harness.Manifest, worker int) error {
	for n := range seeded[0] {
		for i := worker; i < len(seeded); i += workers {
			if ctx.Err() != nil {
				return nil
			}
			if err := repo.Delete(context.WithoutCancel(ctx), repo.Any(), seeded[i][n].Digest()); err != nil {
				return err
			}
			if err := repo.Push(context.WithoutCancel(ctx), repo.Any(), repo.Referrer(repo.Subjects[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch lists one subject after another until ctx ends.
func watch(ctx context.Context, repo *load.Repository) error {
	for ctx.Err() == nil {
		subject := repo.Subjects[rand.IntN(len(repo.Subjects))]
		if _, err := repo.List(context.WithoutCancel(ctx), harness.OCI, subject.Digest, 0); err != nil {
			return err
		}
	}
	return nil
}

// expectNoFault expects a report to find no fault with manifests that existed before it
// began and still do, and at most a missing link for those that were pushed since: they
// were stored a moment before they were linked.
func expectNoFault(t *testing.T, repo *load.Repository, before []harness.Manifest, report string) {
	t.Helper()
	old := map[digest.Digest]bool{}
	for _, m := range before {
		old[m.Digest()] = true
	}
	faults := map[string]string{} // the line, by the referrer's digits
	for line := range strings.Lines(report) {
		if path, _, found := strings.Cut(line, ": "); found {
			faults[path[strings.LastIndexByte(path, '/')+1:]] = line
		}
	}
	wrong := 0
	for _, m := range repo.Ledger.Present() {
		d := m.Digest()
		line, found := faults[d.Encoded()]
		if found && (old[d] || !strings.HasPrefix(line, "missing ")) {
			if wrong++; wrong == 1 {
				t.Errorf("a fault with a manifest that is there: %s", line)
			}
		}
	}
	if wrong > 1 {
		t.Errorf("%d faults with manifests that are there", wrong)
	}
}
