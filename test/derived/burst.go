package derived

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// burst does many things at the same time: clients push, delete and list, each its own
// manifests, while derived data is tampered with. Now and then a command runs, or one of
// the registries is restarted.
func (w *world) burst() error {
	r := pick(w.rng, w.repos)
	if err := w.tellAll(); err != nil { // who lists what is not settled in a burst
		return err
	}
	serving := slices.Clone(w.replicas)
	tasks := []func(context.Context) error{w.vandal()}
	switch n := w.rng.IntN(8); {
	case n == 0:
		w.say("beside a rebuild")
		tasks = append(tasks, func(ctx context.Context) error { return w.site.rebuild(ctx, w.names()) })
	case n == 1:
		w.say("beside a repair")
		tasks = append(tasks, func(ctx context.Context) error { return w.site.repair(ctx, w.names()) })
	case n < 4:
		i := 1 + w.rng.IntN(len(serving)-1)
		w.say("beside a restart of %s", serving[i])
		tasks = append(tasks, w.restarting(r, serving[i]))
		serving = slices.Delete(serving, i, i+1)
	}
	const clients, operations = 4, 6
	own, pageSize := w.deal(r, clients), w.pageSize()
	for i := range clients {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 0))
		tasks = append(tasks, func(ctx context.Context) error {
			for range operations {
				if err := work(ctx, rng, r, serving, own[i], pageSize); err != nil {
					return err
				}
			}
			return nil
		})
	}
	w.site.unsteady(true)
	defer w.site.unsteady(false)
	group, ctx := errgroup.WithContext(w.t.Context())
	for _, task := range tasks {
		group.Go(func() error { return task(ctx) })
	}
	return group.Wait()
}

// deal gives each client its own manifests, whose subjects are neither pushed nor deleted.
func (w *world) deal(r *repo, clients int) [][]harness.Manifest {
	own := make([][]harness.Manifest, clients)
	for i, m := range r.pool {
		stays := m.Subject == nil && m.ContentType != harness.MediaTypeOCIIndex // which a tag may point to
		for _, s := range append(r.Subjects, r.absent) {
			stays = stays || m.Subject != nil && m.Subject.Digest == s.Digest
		}
		if stays && pushable(r, m) {
			own[i%clients] = append(own[i%clients], m)
		}
	}
	for i := range own {
		m := r.Referrer(r.Subjects[i%len(r.Subjects)])
		if !r.knows(m) && r.room(w, m) {
			own[i] = append(own[i], m)
		}
	}
	return own
}

// work is one thing that one client does.
func work(ctx context.Context, rng *rand.Rand, r *repo, serving []*replica, own []harness.Manifest, pageSize int) error {
	by := pick(rng, serving)
	if by.readOnly || len(own) == 0 || rng.IntN(3) == 0 {
		_, err := r.List(ctx, pick(rng, harness.Routes()), pick(rng, r.Subjects).Digest, pageSize, by.client)
		if err != nil {
			err = fmt.Errorf("in a burst, by %s: %w", by, err)
		}
		return err
	}
	m := pick(rng, own)
	if r.Ledger.Has(m.Digest()) && rng.IntN(5) > 0 {
		return r.Delete(ctx, by.client, m.Digest())
	}
	return r.Push(ctx, by.client, m)
}

// restarting restarts a registry, which then lists what it has not seen.
func (w *world) restarting(r *repo, one *replica) func(context.Context) error {
	s, kills := w.settings(one), w.rng.IntN(2) == 0
	return func(ctx context.Context) error {
		if err := w.again(one, s, kills); err != nil {
			return err
		}
		for _, subject := range r.Subjects {
			if _, err := r.List(ctx, harness.OCI, subject.Digest, 0, one.client); err != nil {
				return fmt.Errorf("in a burst, by %s: %w", one, err)
			}
		}
		return nil
	}
}

// vandal tampers with derived data.
func (w *world) vandal() func(context.Context) error {
	rng := rand.New(rand.NewPCG(w.rng.Uint64(), 1))
	return func(ctx context.Context) error {
		for range 3 {
			if _, err := w.tamperWith(ctx, rng); err != nil {
				return err
			}
		}
		return nil
	}
}
