// Package online runs collections of garbage while several registries serve one storage
// tree, disturbs both, and checks that nothing is lost that was acknowledged. It is for
// tests only.
package online

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Load is what the registries are put under.
type Load struct {
	// Replicas and Clients are how many there are.
	Replicas, Clients int
	// Duration is how long the clients push at least, unless there are Pushes; they go on
	// until all has happened that the test is about.
	Duration time.Duration
	// Pushes is how many have to be acknowledged before it ends; 0 leaves it to Duration.
	Pushes int
	// Pace is that of the registries.
	Pace time.Duration
	// Command has the command collect in a loop, too.
	Command bool
	// Cache is the descriptor cache of each registry; empty is what the storage says.
	Cache string
	// Cut cuts registries off from their storage, which is S3, instead of stopping them.
	Cut bool
}

// world is one storage tree, what is served from it, and what was promised about it.
type world struct {
	Load
	t        *testing.T
	nodes    []*node
	ledger   *ledger
	gather   *graveyard
	tally    tally
	config   string // a configuration file for the command
	commands sync.WaitGroup
	running  sync.Mutex
	command  *exec.Cmd // that is collecting
	killed   bool
}

// repositories are where the clients push. They mount blobs from each other.
var repositories = []string{"online/a", "online/b", "online/c"}

// Run puts new registries under the load.
func (l Load) Run(t *testing.T) {
	w := &world{Load: l, t: t, ledger: newLedger(), gather: newGraveyard()}
	w.start()
	t.Cleanup(w.keepLogs)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	group, groupCtx := errgroup.WithContext(ctx)
	stop := make(chan struct{})
	for i := range l.Clients {
		c := &client{world: w, name: fmt.Sprintf("client%d", i)}
		group.Go(func() error { return c.work(groupCtx, stop) })
	}
	group.Go(func() error { return w.verifyUntil(groupCtx, stop) })
	if l.Command {
		w.commands.Go(func() { w.collectUntil(stop) })
	}
	w.disturbUntil(groupCtx)
	close(stop)
	err := group.Wait()
	w.commands.Wait()
	if err != nil {
		t.Fatalf("%v\n%s", err, &w.tally)
	}
	w.finish()
	t.Logf("%d registries, %d clients, %s", l.Replicas, l.Clients, &w.tally)
	if missing := w.tally.missing(); missing != nil {
		t.Errorf("%s: %s", strings.Join(missing, ", "), &w.tally)
	}
}

// start starts the registries.
func (w *world) start() {
	root := ""
	for range w.Replicas {
		n := &node{world: w}
		if w.Cut {
			n.proxy = newProxy(w.t, storageAddr(w.t))
		}
		n.registry = harness.Start(w.t, harness.Options{Driver: harness.SharedDriver(), Root: root, Config: n.configuration(2 * w.Pace)})
		root = n.registry.Root
		n.up(n.registry.Client())
		w.nodes = append(w.nodes, n)
	}
	for _, repository := range repositories {
		w.nodes[0].registry.Client().LeaveUpload(repository)
	}
	w.config = w.nodes[0].registry.Config
}

// finish checks everything once nobody pushes any more, and then that what is garbage is
// gone.
func (w *world) finish() {
	t := w.t
	if err := w.verifyAll(t.Context(), w.nodes...); err != nil {
		t.Fatalf("at the end: %v\n%s", err, &w.tally)
	}
	// What was used within the last hour stays, unless nobody remembers. The registries
	// collect nothing by themselves from here on.
	for _, n := range w.nodes {
		n.restart(n.configuration(0))
	}
	got := harness.Run(t, w.collectOnline()...)
	if got.Exit != 0 {
		t.Fatalf("a collection while nobody pushes: %+v", got)
	}
	w.collected(nil, false, []byte(got.Stdout), "")
	got = harness.Run(t, "garbage-collect", "--delete-untagged", "--delete-dangling-referrers", "--dry-run", "--format", "json", w.config)
	if got.Exit != 0 {
		t.Fatalf("a dry run: %+v", got)
	}
	expectNothingRemovable(t, got.Stdout)
	w.expectGone()
	if err := w.verifyAll(t.Context(), w.any()); err != nil {
		t.Fatalf("after the last collection: %v\n%s", err, &w.tally)
	}
	w.tally.read(w.nodes)
	if got := harness.Run(t, "referrers", "verify", w.config); got.Exit != 0 {
		t.Errorf("referrers verify: %+v", got)
	}
}

// keepLogs keeps what the registries have logged if the test has failed.
func (w *world) keepLogs() {
	if !w.t.Failed() {
		return
	}
	folder, err := os.MkdirTemp("", "online-")
	if err != nil {
		w.t.Error(err)
	}
	for i, n := range w.nodes {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.log", i)), []byte(n.registry.Log()), 0o644); err != nil {
			w.t.Error(err)
		}
	}
	w.t.Logf("the logs of the registries are in %s", folder)
}
