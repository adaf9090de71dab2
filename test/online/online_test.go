//go:build !e2e

package online_test

import (
	"flag"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/online"
)

var (
	pushes   = flag.Int("online.pushes", 0, "how many pushes have to be acknowledged; 0: as many as there are in the duration")
	duration = flag.Duration("online.duration", 8*time.Second, "how long clients push")
	pace     = flag.Duration("online.pace", 200*time.Millisecond, "the pace of replicas and collectors")
)

func TestReplicasThatCollect(t *testing.T) {
	online.Load{Replicas: 4, Clients: 8, Duration: *duration, Pushes: *pushes, Pace: *pace, Cache: "inmemory"}.Run(t)
}

func TestCommandBesideReplicas(t *testing.T) {
	online.Load{Replicas: 2, Clients: 6, Duration: *duration, Pushes: *pushes, Pace: *pace, Cache: "inmemory", Command: true}.Run(t)
}
