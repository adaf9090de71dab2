package mirror

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// collectingConfig is the configuration of a mirror with one upstream that collects garbage all the
// time: all that has no tag.
func (o *Origin) collectingConfig() string {
	return harness.Configf("extensions: {collection: {interval: 500ms, untagged: true, dangling: true, olderthan: 0s, pace: 200ms}, mirror: {upstreams: {origin: {url: %s, ttl: 1h}}}}", o.URL)
}

// Two mirrors on one storage are asked for the same at the same time while both collect garbage.
// Every answer is whole.
func TestReplicasPullAtTheSameTime(t *testing.T) {
	origin := NewOrigin(t)
	one, other := pair(t, origin.collectingConfig())
	for round := range 5 {
		name := fmt.Sprintf("app%d", round)
		content := Push(origin.Client, name)
		var group errgroup.Group
		for i := range 10 {
			c := []*harness.Registry{one, other}[i%2].Client()
			group.Go(func() error { return content.TryPull(t.Context(), c, "origin/"+name) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = one.Stop(), other.Stop()
	Intact(t, one.Root)
}

// A mirror that is killed at any moment has stored nothing half, and after a restart everything
// can be pulled, while garbage is collected.
func TestKilledMirrors(t *testing.T) {
	origin := NewOrigin(t)
	one, other := pair(t, origin.collectingConfig())
	for round := range 10 {
		name := fmt.Sprintf("app%d", round)
		content := Push(origin.Client, name)
		var asked atomic.Int64
		var kill sync.Once
		killed := make(chan struct{})
		origin.Fail(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
			last := asked.Add(1) == int64(round+1)
			if last && round%2 == 0 { // in the middle of an answer
				half(w, r, registry)
			} else {
				registry.ServeHTTP(w, r)
			}
			if last {
				kill.Do(func() {
					one.Kill()
					close(killed)
				})
			}
		})
		c := one.Client()
		_ = content.TryPull(t.Context(), c, "origin/"+name)
		select {
		case <-killed:
		case <-time.After(time.Minute):
			t.Fatalf("round %d: the origin was asked %d times", round, asked.Load())
		}
		origin.Fail(nil)
		halfStored(t, one.Root)
		if round%2 == 0 {
			content.Pull(t, other.Client(), "origin/"+name) // at once, without the one that is gone
		}
		one.Restart()
		content.Pull(t, one.Client(), "origin/"+name)
	}
	_, _ = one.Stop(), other.Stop()
	halfStored(t, one.Root)
}
