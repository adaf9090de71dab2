package derived

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/internal/gc"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

// smallCache is a cachesize that holds little of what the registries know.
const smallCache = 64 << 10

// Site is a storage with registries on it: Processes or Instances.
type Site interface {
	// start starts a registry of ours, for the first time or again.
	start(number int, s settings) *harness.Client
	// stop ends it in the orderly way, kill at once.
	stop(number int) error
	kill(number int)
	// stock starts a stock registry, end ends it.
	stock() (c *harness.Client, end func() error)

	rebuild(ctx context.Context, repositories []string) error
	repair(ctx context.Context, repositories []string) error
	collect(ctx context.Context, untagged bool) error

	// unsteady has some storage operations take longer than others from now on, or
	// ends that, where storage would always be quick.
	unsteady(on bool)

	tree() *tree
}

// processes are registries that are processes of their own.
type processes struct {
	t        testing.TB
	options  harness.Options
	ours     map[int]*server
	stockOne *server
	storage  *tree
}

// server is one of the processes, with its client.
type server struct {
	*harness.Registry
	client *harness.Client
}

// Stop asks the registry to end and waits until it has. A connection that was never
// used would keep it for five seconds.
func (s *server) Stop() error {
	s.client.HTTP.CloseIdleConnections()
	return s.Registry.Stop()
}

// serving waits for an answer of a registry. It listens before it heeds signals,
// and may be told to end at once.
func (s *server) serving(t testing.TB) *harness.Client {
	s.client = s.Client()
	_, err := s.client.Do(t.Context(), harness.Request{Method: http.MethodGet, Path: "/v2/"})
	if err != nil {
		t.Error(err)
	}
	return s.client
}

// Processes runs registries on a storage that processes can share.
func Processes(t testing.TB) Site {
	return &processes{t: t, options: harness.Options{Driver: harness.SharedDriver()}, ours: map[int]*server{}}
}

func (p *processes) start(number int, s settings) *harness.Client {
	size := referrers.DefaultCacheSize
	if s.smallCache {
		size = smallCache
	}
	config := harness.Configf("{log: {accesslog: {disabled: true}}, storage: {maintenance: {readonly: {enabled: %t}}}, extensions: {referrers: {cachesize: %d}}}",
		s.readOnly, size)
	r := p.ours[number]
	if r == nil {
		o := p.options
		o.Config = config
		r = &server{Registry: harness.Start(p.t, o)}
		p.options.Root = r.Root
		p.ours[number] = r
	} else {
		r.RestartConfigured(config)
	}
	return r.serving(p.t)
}

func (p *processes) stop(number int) error { return p.ours[number].Stop() }

func (p *processes) kill(number int) { p.ours[number].Kill() }

func (p *processes) stock() (*harness.Client, func() error) {
	if p.stockOne == nil {
		o := p.options
		o.Binary = harness.StockBinary(p.t)
		p.stockOne = &server{Registry: harness.Start(p.t, o)}
	} else {
		p.stockOne.Restart()
	}
	return p.stockOne.serving(p.t), p.stockOne.Stop
}

// run runs a command with the configuration of the registry that is never read-only.
func (p *processes) run(exits []int, args ...string) error {
	got := harness.Run(p.t, append(args, p.ours[0].Config)...)
	if !slices.Contains(exits, got.Exit) {
		return fmt.Errorf("%v: %+v", args, got)
	}
	return nil
}

func (p *processes) rebuild(context.Context, []string) error {
	return p.run([]int{0}, "referrers", "rebuild")
}

func (p *processes) repair(context.Context, []string) error {
	return p.run([]int{0, 1}, "referrers", "verify", "--repair") // some faults are for the collector
}

func (p *processes) collect(_ context.Context, untagged bool) error {
	args := []string{"garbage-collect", "--quiet"}
	if untagged {
		args = append(args, "--delete-untagged")
	}
	return p.run([]int{0}, args...)
}

// unsteady implements Site. The disk is.
func (p *processes) unsteady(bool) {}

// tree is the storage as the driver of the registries sees it.
func (p *processes) tree() *tree {
	if p.storage != nil {
		return p.storage
	}
	file, err := os.Open(p.ours[0].Config)
	if err != nil {
		p.t.Fatal(err)
	}
	defer file.Close()
	config, err := configuration.Parse(file)
	if err != nil {
		p.t.Fatal(err)
	}
	driver, err := factory.Create(p.t.Context(), config.Storage.Type(), config.Storage.Parameters())
	if err != nil {
		p.t.Fatal(err)
	}
	p.storage = &tree{driver: driver}
	if p.options.Driver == harness.Filesystem {
		p.storage.root = p.options.Root
	}
	return p.storage
}

// instances are registries in the process of the test, on a storage in memory.
type instances struct {
	t         testing.TB
	driver    *inmemory.Driver
	running   map[int]*instance
	takesTime bool
}

type instance struct {
	*inprocess.Registry
	driver *faultdriver.Driver
}

// Instances runs registries in the process of the test, on a storage in memory.
func Instances(t testing.TB) Site {
	return &instances{t: t, driver: inmemory.New(), running: map[int]*instance{}}
}

func (i *instances) start(number int, s settings) *harness.Client {
	driver := faultdriver.New(i.driver)
	options := inprocess.Options{ReadOnly: s.readOnly, Background: true}
	if s.smallCache {
		options.CacheSize = smallCache
	}
	i.running[number] = &instance{inprocess.Start(i.t, driver, options), driver}
	i.pace(driver)
	return i.running[number].Client
}

func (i *instances) unsteady(on bool) {
	i.takesTime = on
	for _, r := range i.running {
		i.pace(r.driver)
	}
}

// pace lets one of a few operations of a driver wait a little, if they are to.
func (i *instances) pace(driver *faultdriver.Driver) {
	driver.Reset() // with the operations that it remembers
	if i.takesTime {
		driver.Plan(func(int, faultdriver.Operation) faultdriver.Fault {
			if rand.IntN(4) == 0 {
				time.Sleep(rand.N(time.Millisecond))
			}
			return faultdriver.None
		})
	}
}

func (i *instances) stop(number int) error { return i.running[number].Close() }

// kill lets nothing more come to the storage.
func (i *instances) kill(number int) {
	i.running[number].driver.FailFrom(1, faultdriver.Fail)
	_ = i.running[number].Close()
}

func (i *instances) stock() (*harness.Client, func() error) {
	r := inprocess.Stock(i.t, i.driver, inprocess.Options{})
	return r.Client, r.Close
}

func (i *instances) rebuild(ctx context.Context, repositories []string) error {
	return i.each(ctx, repositories, func(x *referrers.Index, name string) error {
		_, err := x.Rebuild(ctx, name, func() {})
		return err
	})
}

func (i *instances) repair(ctx context.Context, repositories []string) error {
	return i.each(ctx, repositories, func(x *referrers.Index, name string) error {
		_, err := x.Verify(ctx, name, true, func() {})
		return err
	})
}

// each does with an index of its own, as the commands have, something for each
// repository.
func (i *instances) each(ctx context.Context, repositories []string, do func(x *referrers.Index, name string) error) error {
	x := referrers.New(i.driver, referrers.Options{Types: harness.ManifestTypes()})
	var errs []error
	for _, name := range repositories {
		errs = append(errs, do(x, name))
	}
	return errors.Join(append(errs, x.Close(ctx))...)
}

func (i *instances) collect(ctx context.Context, untagged bool) error {
	_, err := gc.Collect(ctx, i.driver, gc.Options{Untagged: untagged, Reach: harness.ManifestTypes().Reach})
	return err
}

func (i *instances) tree() *tree { return &tree{driver: i.driver} }
