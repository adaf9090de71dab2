package online

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// node is one of the registries.
type node struct {
	world    *world
	registry *harness.Registry
	proxy    *proxy // between it and its storage, or nil

	mu        sync.Mutex
	client    *harness.Client
	since     time.Time // when it was started
	disturbed int       // how often it was killed, stopped or cut off
	ailing    bool      // it is at present
}

// up says that the registry has been started.
func (n *node) up(c *harness.Client) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.client, n.since = c, time.Now()
	n.ailing = false
	n.disturbed++
}

// disturb says that the registry is about to be disturbed: what it has promised no longer
// holds, and what it promises meanwhile does not either.
func (n *node) disturb() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ailing = true
	n.disturbed++
}

// healed says that the registry is left alone again.
func (n *node) healed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ailing = false
	n.disturbed++
}

// now is a client of the registry, and what it is worth.
func (n *node) now() (c *harness.Client, since promise) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.client, promise{n, n.disturbed}
}

// configuration is that of the registry, which collects at intervals.
func (n *node) configuration(interval time.Duration) string {
	storage := "{}"
	switch {
	case n.proxy != nil:
		storage = harness.Configf("{s3: {regionendpoint: 'http://%s'}}", n.proxy.addr())
	case n.world.Cache != "":
		storage = harness.Configf("{cache: {blobdescriptor: %s}}", n.world.Cache)
	}
	return harness.Configf(`
log: {accesslog: {disabled: true}}
storage: %s
extensions: {collection: {interval: %s, untagged: true, dangling: true, olderthan: 0s, pace: %s}}
`, storage, interval, n.world.Pace)
}

// restart starts the registry again, with a configuration if it is not empty.
func (n *node) restart(config string) {
	if config == "" {
		n.registry.Restart()
	} else {
		n.registry.RestartConfigured(config)
	}
	n.up(n.registry.Client())
}

// promise is what a registry has said. It holds until the registry is disturbed.
type promise struct {
	node      *node
	disturbed int
}

// holds reports whether the registry still has to keep the promise.
func (p promise) holds() bool {
	if p.node == nil {
		return false
	}
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	return !p.node.ailing && p.node.disturbed == p.disturbed
}

// any is one of the registries.
func (w *world) any() *node { return w.nodes[rand.IntN(len(w.nodes))] }

// forgotten is the time before which no registry remembers what was used.
func (w *world) forgotten() time.Time {
	oldest := time.Now()
	for _, n := range w.nodes {
		n.mu.Lock()
		if n.since.Before(oldest) {
			oldest = n.since
		}
		n.mu.Unlock()
	}
	return oldest
}
