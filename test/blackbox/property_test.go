package blackbox_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// SeedVariable is the environment variable that repeats a run of the property
// test with the seed that it printed.
const SeedVariable = "TEST_SEED"

// TestListingsHoldTheInvariants pushes, deletes and walks at random in parallel, through
// two replicas where the driver can be shared, and checks every listing with a model:
// what existed throughout is listed exactly once, what was gone throughout is not
// listed, and what is listed can be pulled.
func TestListingsHoldTheInvariants(t *testing.T) {
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			var clients []*harness.Client
			if driver == harness.SharedDriver() {
				a, b := replicas(t)
				clients = []*harness.Client{a.For(t), b.For(t)}
			} else {
				clients = []*harness.Client{harness.Start(t, harness.Options{Driver: driver}).Client()}
			}
			seed := uint64(time.Now().UnixNano())
			if text := os.Getenv(SeedVariable); text != "" {
				var err error
				if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%s=%d", SeedVariable, seed)
			newModel(t, clients, seed).run()
		})
	}
}

// never is the tick of an event that has not happened.
const never = math.MaxInt64

// span is one stay of a manifest in the repository, in ticks of the model's
// clock: when the push was sent and answered, the deletion sent and answered.
type span struct{ pushing, pushed, deleting, deleted int64 }

// life is a manifest and its stays. Only one worker pushes and deletes it.
type life struct {
	manifest harness.Manifest
	cut      bool // a push was cut off, and may still be going on

	mu    sync.Mutex
	spans []span
}

// isDated reports whether the manifest says when it was created. Another is ordered by the
// time of its bytes, which a push that was cut off may still write, after a replica has asked
// for it: see the known limitations in docs/reliability.md.
func (l *life) isDated() bool {
	return l.manifest.Annotations[harness.ORASCreated] != "" || l.manifest.Annotations[harness.OCICreated] != ""
}

// throughout reports whether the manifest was there from one tick to another.
func (l *life) throughout(from, to int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.spans {
		if s.pushed < from && s.deleting > to {
			return true
		}
	}
	return false
}

// possible reports whether the manifest may have been there at some moment
// between two ticks, and in how many of its stays.
func (l *life) possible(from, to int64) (stays int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.spans {
		if s.pushing < to && s.deleted > from {
			stays++
		}
	}
	return stays
}

func (l *life) set(change func(*span)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.spans[len(l.spans)-1])
}

const (
	propertyWorkers = 6
	propertyOps     = 120 // of each worker
	propertyOwned   = 6   // manifests of each worker
)

type model struct {
	t        *testing.T
	clients  []*harness.Client
	seed     uint64
	clock    atomic.Int64
	subjects []harness.Descriptor
	lives    map[digest.Digest]*life
	owned    [propertyWorkers][]*life

	pushes, deletions, cuts, pages atomic.Int64
}

func newModel(t *testing.T, clients []*harness.Client, seed uint64) *model {
	m := &model{t: t, clients: clients, seed: seed, lives: map[digest.Digest]*life{}}
	c := clients[0]
	for i := range 2 {
		m.subjects = append(m.subjects, c.PushImage("app", "", fmt.Sprint("layer ", i)))
	}
	config := emptyConfig(c, "app", "application/vnd.example")
	for worker := range m.owned {
		for i := range propertyOwned {
			kinds := []harness.Manifest{
				harness.ORASArtifact("type/" + fmt.Sprint(i%2)),
				harness.ORASArtifact("type/0").Annotated(harness.ORASCreated, fmt.Sprintf("2022-01-01T00:00:%02dZ", i)),
				harness.OCIImage(config).Typed("type/1"),
				harness.OCIIndex().Typed("type/0").Annotated(harness.OCICreated, fmt.Sprintf("2023-01-01T00:00:%02dZ", i)),
				harness.OCIArtifact("type/1"),
			}
			l := &life{manifest: kinds[(worker+i)%len(kinds)].Annotated("of", fmt.Sprint(worker, i)).To(m.subjects[i%2])}
			m.owned[worker] = append(m.owned[worker], l)
			m.lives[l.manifest.Digest()] = l
		}
	}
	return m
}

func (m *model) run() {
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for worker := range m.owned {
		writers.Go(func() { m.write(worker) })
	}
	for reader := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(m.seed, 1000+uint64(reader)))
			for {
				select {
				case <-done:
					return
				default:
					m.walk(rng)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	rng := rand.New(rand.NewPCG(m.seed, 2000))
	for range 20 { // nothing changes any more
		m.walk(rng)
	}
	m.t.Logf("%d pushes, %d cut off, %d deletions, %d pages", m.pushes.Load(), m.cuts.Load(), m.deletions.Load(), m.pages.Load())
}

func (m *model) client(rng *rand.Rand) *harness.Client { return m.clients[rng.IntN(len(m.clients))] }

// write does what one worker does, at random.
func (m *model) write(worker int) {
	rng := rand.New(rand.NewPCG(m.seed, uint64(worker)))
	for range propertyOps {
		l := m.owned[worker][rng.IntN(propertyOwned)]
		present := len(l.spans) > 0 && l.spans[len(l.spans)-1].deleted == never
		switch choice := rng.IntN(10); {
		case present && choice < 5 && !l.cut:
			m.delete(m.client(rng), l)
		case choice == 9 && l.isDated():
			m.cutOff(m.client(rng), l, time.Duration(rng.IntN(3000))*time.Microsecond, present)
		default:
			m.push(m.client(rng), l, rng.IntN(4) == 0, present)
		}
	}
}

func (m *model) push(c *harness.Client, l *life, tagged, present bool) {
	m.begin(l, present)
	reference := ""
	if tagged {
		reference = "t" + l.manifest.Digest().Encoded()[:12]
	}
	resp := c.Push("app", reference, l.manifest)
	if resp.Status != http.StatusCreated {
		m.t.Errorf("%s", resp)
		return
	}
	l.set(func(s *span) { s.pushed = min(s.pushed, m.clock.Add(1)) })
	m.pushes.Add(1)
}

// cutOff begins a push and breaks the connection. Its result is unknown until the
// manifest is pushed again.
func (m *model) cutOff(c *harness.Client, l *life, after time.Duration, present bool) {
	m.begin(l, present)
	l.cut = true
	ctx, cancel := context.WithTimeout(context.Background(), after)
	defer cancel()
	_, _ = c.Do(ctx, harness.Request{
		Method: http.MethodPut, Path: harness.ManifestPath("app", l.manifest.Digest().String()),
		// Go's client may give the connection to another request before it notices that this
		// one was cut off, and then cuts off that, too.
		Header: harness.Header("Content-Type: "+l.manifest.ContentType, "Connection: close"), Body: l.manifest.Bytes(),
	})
	m.cuts.Add(1)
}

func (m *model) begin(l *life, present bool) {
	if present {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, span{m.clock.Add(1), never, never, never})
}

func (m *model) delete(c *harness.Client, l *life) {
	l.set(func(s *span) { s.deleting = m.clock.Add(1) })
	resp := c.Delete(harness.ManifestPath("app", l.manifest.Digest().String()))
	if resp.Status != http.StatusAccepted {
		m.t.Errorf("%s", resp)
		return
	}
	l.set(func(s *span) { s.deleted = m.clock.Add(1) })
	m.deletions.Add(1)
}

// walk walks a listing, each page from a random replica, and checks it with the model.
func (m *model) walk(rng *rand.Rand) {
	route := harness.Routes()[rng.IntN(3)]
	subject := m.subjects[rng.IntN(2)].Digest
	var query []string
	filter := ""
	if rng.IntN(3) > 0 {
		query = append(query, "n", fmt.Sprint(1+rng.IntN(5)))
	}
	if rng.IntN(3) == 0 {
		filter = fmt.Sprint("type/", rng.IntN(2))
		query = append(query, "artifactType", filter)
	}
	seen := map[digest.Digest]int{}
	from := m.clock.Load()
	for path := route.With("app", subject, query...); path != ""; {
		before := m.clock.Load()
		resp := m.client(rng).Get(path)
		if resp.Status != http.StatusOK {
			m.t.Errorf("%s", resp)
			return
		}
		m.pages.Add(1)
		onPage := map[digest.Digest]bool{}
		for _, entry := range route.Entries(resp) {
			if onPage[entry.Digest] {
				m.t.Errorf("%s: %s is on one page twice", path, entry.Digest)
			}
			onPage[entry.Digest] = true
			seen[entry.Digest]++
			m.entry(route, path, entry, before)
		}
		m.pull(rng, resp, onPage, before)
		path = resp.Next()
	}
	m.whole(route, subject, filter, seen, from)
}

// entry checks one entry with the model: before is the tick before its page was
// requested.
func (m *model) entry(route harness.Route, path string, entry harness.Descriptor, before int64) {
	l := m.lives[entry.Digest]
	switch {
	case l == nil:
		m.t.Errorf("%s: nobody pushed %s", path, entry.Digest)
	case l.possible(before, m.clock.Load()+1) == 0:
		m.t.Errorf("%s: %s was not there", path, entry.Digest)
	case route.Name != harness.OCI.Name && l.manifest.ContentType != harness.MediaTypeORASArtifact:
		m.t.Errorf("%s: lists a %s", path, l.manifest.ContentType)
	}
}

// pull pulls one of the manifests of a page, which must work unless the manifest
// was deleted meanwhile.
func (m *model) pull(rng *rand.Rand, resp *harness.Response, page map[digest.Digest]bool, before int64) {
	for d := range page {
		got := m.client(rng).GetManifest("app", d.String())
		if got.Status != http.StatusOK && m.lives[d].throughout(before+1, m.clock.Load()+1) {
			m.t.Errorf("%s is listed, but cannot be pulled: %s", d, got)
		}
		return
	}
}

// whole checks a walk that began at a tick with the model.
func (m *model) whole(route harness.Route, subject digest.Digest, filter string, seen map[digest.Digest]int, from int64) {
	to := m.clock.Load() + 1
	for d, l := range m.lives {
		listed := l.manifest.Subject.Digest == subject && (filter == "" || l.manifest.ArtifactType == filter) &&
			(route.Name == harness.OCI.Name || l.manifest.ContentType == harness.MediaTypeORASArtifact)
		switch {
		case !listed:
			if seen[d] > 0 {
				m.t.Errorf("%s: %s does not belong to the listing", route.Name, d)
			}
		case l.throughout(from+1, to) && seen[d] != 1:
			m.t.Errorf("%s: %s was there throughout and is listed %d times", route.Name, d, seen[d])
		case seen[d] > l.possible(from, to):
			m.t.Errorf("%s: %s is listed %d times, but was there %d times", route.Name, d, seen[d], l.possible(from, to))
		}
	}
}
