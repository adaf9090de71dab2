// Package replicas runs several registries on one storage tree and checks that all of
// them give the same answers, whichever got a request. It is for tests only.
package replicas

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
)

// Start starts registries on one new storage tree that processes can share.
func Start(t testing.TB, count int, o harness.Options) []*harness.Registry {
	t.Helper()
	o.Driver = harness.SharedDriver()
	list := make([]*harness.Registry, count)
	for i := range list {
		list[i] = harness.Start(t, o)
		o.Root = list[i].Root
	}
	return list
}

// Balance starts a load balancer in front of registries, which take turns, and returns its
// address.
func Balance(t testing.TB, list []*harness.Registry) (addr string) {
	t.Helper()
	var turn atomic.Uint32
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: list[int(turn.Add(1))%len(list)].Addr})
		r.Out.Host = r.In.Host
	}}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Clients are one client of each registry.
func Clients(list []*harness.Registry) []*harness.Client {
	clients := make([]*harness.Client, len(list))
	for i, r := range list {
		clients[i] = r.Client()
	}
	return clients
}

// Load is the load on the registries.
type Load struct {
	Registries, Clients int
	// Operations is how many pushes, deletions and listings each client does.
	Operations int
	// BreakOff breaks off some pushes at random moments.
	BreakOff bool
	// Options are those of the registries.
	Options harness.Options
}

// OneSubject lets all clients push referrers of one subject, delete some and list them,
// each request at another registry. No listing misses a referrer that was acknowledged
// before, contains one that was deleted before, or contains one twice, even if it is read
// in pages while others push and delete.
func (l Load) OneSubject(t *testing.T) {
	repo := load.NewRepository("concurrent/app", 1, Clients(Start(t, l.Registries, l.Options))...)
	subject := repo.Subjects[0]
	group, ctx := errgroup.WithContext(t.Context())
	for range l.Clients {
		group.Go(func() error { return mixed(ctx, repo, subject, l.Operations) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, c := range repo.Clients {
		for _, route := range harness.Routes() {
			for _, pageSize := range []int{0, 100} {
				if _, err := repo.List(t.Context(), route, subject.Digest, pageSize, c); err != nil {
					t.Errorf("in the end, registry %d: %v", i, err)
				}
			}
		}
	}
	t.Logf("%d registries, %d clients, one subject: %+v", l.Registries, l.Clients, repo.Ledger.Counts())
}

// mixed is what one client does.
func mixed(ctx context.Context, repo *load.Repository, subject harness.Descriptor, operations int) error {
	var own []harness.Manifest
	for range operations {
		var err error
		switch dice := rand.IntN(10); {
		case dice < 5 || len(own) == 0:
			m := repo.Referrer(subject)
			own = append(own, m)
			err = repo.Push(ctx, repo.Any(), m)
		case dice < 7:
			i := rand.IntN(len(own))
			err = repo.Delete(ctx, repo.Any(), own[i].Digest())
			own[i] = own[len(own)-1]
			own = own[:len(own)-1]
		default:
			_, err = repo.List(ctx, harness.Routes()[dice-7], subject.Digest, rand.IntN(2)*(1+rand.IntN(40)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// SameDigest pushes and deletes the same manifests through all registries at the same
// time, while others list them. Whatever the result, all registries agree in the end, no
// listing contains a manifest that cannot be pulled or omits one that can, and the next
// push and the next deletion work.
func (l Load) SameDigest(t *testing.T) {
	repo := load.NewRepository("contended/app", 1, Clients(Start(t, l.Registries, l.Options))...)
	subject := repo.Subjects[0]
	// All know the manifests before it begins, as they would in the long run.
	manifests := make([]harness.Manifest, l.Operations)
	for i := range manifests {
		manifests[i] = repo.Referrer(subject)
		if err := repo.Push(t.Context(), repo.Any(), manifests[i]); err != nil {
			t.Fatal(err)
		}
	}
	listEverywhere(t, repo, subject)
	for _, m := range manifests {
		if err := l.contend(t.Context(), repo, m); err != nil {
			t.Error(err)
		}
	}
	var listed int
	for _, m := range manifests {
		there, err := l.agree(t.Context(), repo, m)
		// A registry may still be working on a request that was broken off.
		for until := time.Now().Add(patience); err != nil && l.BreakOff && time.Now().Before(until); {
			there, err = l.agree(t.Context(), repo, m)
		}
		if err != nil {
			t.Error(err)
		}
		if there {
			listed++
		}
	}
	t.Logf("%d registries, %d manifests pushed and deleted at the same time: %d of them exist in the end",
		l.Registries, len(manifests), listed)
	for _, m := range manifests {
		if err := repo.Push(t.Context(), repo.Any(), m); err != nil {
			t.Error(err)
		}
	}
	listEverywhere(t, repo, subject)
	for _, m := range manifests {
		if err := repo.Delete(t.Context(), repo.Any(), m.Digest()); err != nil {
			t.Error(err)
		}
	}
	listEverywhere(t, repo, subject)
}

// patience is how long a registry may work on a request that was broken off.
const patience = 10 * time.Second

// contend pushes and deletes a manifest and lists its subject through each registry, all
// at the same time.
func (l Load) contend(ctx context.Context, repo *load.Repository, m harness.Manifest) error {
	group := new(errgroup.Group) // without a context: its requests are never broken off
	for _, c := range repo.Clients {
		group.Go(func() error {
			err := repo.PushOnly(ctx, c, m)
			if err != nil && strings.Contains(err.Error(), "while it was being pushed") {
				return nil // refused explicitly
			}
			return err
		})
		if l.BreakOff {
			group.Go(func() error {
				ctx, cancel := context.WithTimeout(ctx, rand.N(20*time.Millisecond))
				defer cancel()
				_ = repo.PushOnly(ctx, c, m) // any result is right
				return nil
			})
		}
		group.Go(func() error { return repo.DeleteOnly(ctx, c, m.Digest(), 202, 404) })
		group.Go(func() error {
			_, err := repo.Ask(ctx, harness.OCI, m.Subject.Digest, 0, c)
			return err
		})
	}
	return group.Wait()
}

// agree reports whether a manifest exists. It is an error if a registry lists a manifest that
// cannot be pulled, or differs from the first registry; or does not list one that can be
// pulled, unless pushes were broken off: the storage may do the last step of one after a delete.
func (l Load) agree(ctx context.Context, repo *load.Repository, m harness.Manifest) (there bool, err error) {
	var errs []error
	for i, c := range repo.Clients {
		pulled, err := repo.Get(ctx, c, m.Digest())
		errs = append(errs, err)
		if i == 0 {
			there = pulled
		}
		all, err := repo.Ask(ctx, harness.OCI, m.Subject.Digest, 0, c)
		errs = append(errs, err)
		listed := false
		for _, d := range all {
			listed = listed || d.Digest == m.Digest()
		}
		if pulled != there || listed != there && (listed || !l.BreakOff) {
			errs = append(errs, fmt.Errorf("registry 0 serves %s: %t; registry %d serves it: %t, and lists it: %t",
				m.Digest(), there, i, pulled, listed))
		}
	}
	return there, errors.Join(errs...)
}

// listEverywhere checks the listing that each registry gives.
func listEverywhere(t *testing.T, repo *load.Repository, subject harness.Descriptor) {
	t.Helper()
	var group sync.WaitGroup
	for i, c := range repo.Clients {
		group.Go(func() {
			if _, err := repo.List(t.Context(), harness.OCI, subject.Digest, 0, c); err != nil {
				t.Errorf("registry %d: %v", i, err)
			}
		})
	}
	group.Wait()
}
