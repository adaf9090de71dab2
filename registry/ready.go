package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/distribution/distribution/v3/health"

	"github.com/oras-distribution/registry/internal/referrers"
)

// readiness is what a registry has to have done once before it is ready. It stays ready
// when all replicas have the same trouble, because pulls go on.
type readiness struct {
	mu         sync.Mutex
	index      referrers.Progress
	looked     bool // at all repositories
	registered bool
}

// prepared is told how far the index is.
func (s *readiness) prepared(p referrers.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = p
	s.looked = s.looked || p.Done || p.Failed
}

// readyAnswer is what /debug/ready says.
type readyAnswer struct {
	Ready bool `json:"ready"`
	// Why are the reasons why it is not, and what does not work although it is.
	Why []string `json:"why,omitempty"`
}

// ready answers whether the registry should get requests: 200 or 503, and why. It should
// not any more when ctx has ended.
func (i *instance) ready(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := i.whetherReady(r.Context())
		if ctx.Err() != nil {
			answer = readyAnswer{Why: []string{"the registry is stopping"}}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !answer.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func (i *instance) whetherReady(ctx context.Context) readyAnswer {
	answer := readyAnswer{Ready: true}
	because := func(ready bool, format string, args ...any) {
		answer.Ready = answer.Ready && ready
		answer.Why = append(answer.Why, fmt.Sprintf(format, args...))
	}
	checks := health.CheckStatus(ctx)
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		because(false, "health: %s: %s", name, checks[name])
	}
	s := &i.readiness
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.replica != nil && !i.replica.Registered() {
		because(s.registered, "collection: no contact with the storage, so pushes are refused")
	} else {
		s.registered = true
	}
	switch inBackground := i.extensions.index.Background && !i.config.IsProxy(); {
	case inBackground && !s.looked:
		because(false, "index: %d of the %d repositories found so far are prepared", s.index.Ready, s.index.Repositories)
	case s.index.Failed:
		because(true, "index: %d of %d repositories are prepared, and the others are tried again", s.index.Ready, s.index.Repositories)
	}
	return answer
}
