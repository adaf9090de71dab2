package pulls_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/pulls"
	"github.com/oras-distribution/registry/internal/retention"
)

const day = 24 * time.Hour

func rulesOf(t *testing.T, text string) *retention.Rules {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	section, err := extensions.NewSection("extensions.retention", value)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := retention.Read(section)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// counting is a storage that counts what is written, and can be broken.
type counting struct {
	storagedriver.StorageDriver
	operations, puts atomic.Int64
	broken           atomic.Bool
}

func (c *counting) PutContent(ctx context.Context, path string, content []byte) error {
	c.operations.Add(1)
	if c.broken.Load() {
		return errors.New("the disk is full")
	}
	if strings.Contains(path, "/pulled/") {
		c.puts.Add(1)
	}
	return c.StorageDriver.PutContent(ctx, path, content)
}

func (c *counting) List(ctx context.Context, path string) ([]string, error) {
	c.operations.Add(1)
	return c.StorageDriver.List(ctx, path)
}

func begin(t *testing.T, driver storagedriver.StorageDriver, rules *retention.Rules, failed func(error)) *pulls.Recorder {
	t.Helper()
	r := pulls.NewRecorder(driver, rules, failed)
	r.Start()
	t.Cleanup(func() { r.Close(context.Background()) })
	synctest.Wait()
	return r
}

func unexpected(t *testing.T) func(error) { return func(err error) { t.Error(err) } }

func last(t *testing.T, driver storagedriver.StorageDriver, repository string, d digest.Digest) time.Time {
	t.Helper()
	at, err := pulls.Open(driver).Last(t.Context(), repository, d)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// A pull is recorded once in a tenth of the time, and only where a rule asks for it.
func TestPullsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := &counting{StorageDriver: inmemory.New()}
		r := begin(t, driver, rulesOf(t, "rules: [{repositories: [not], keep: {newest: 1}}, {repositories: ['**'], pulled: 10d}]"), unexpected(t))
		d, other := digest.FromString("one"), digest.FromString("two")
		first := time.Now()
		driver.operations.Store(0)
		r.Pulled("not", d)
		synctest.Wait()
		if n := driver.operations.Load(); n > 0 {
			t.Errorf("a pull that no rule asks for costs %d operations", n)
		}
		for range 10 {
			r.Pulled("a/b", d)
			r.Pulled("a/b", other)
		}
		synctest.Wait()
		if n := driver.puts.Load(); n != 2 {
			t.Errorf("%d records of two manifests were written", n)
		}
		if got := last(t, driver, "a/b", d); !got.Equal(first) {
			t.Errorf("recorded as pulled at %s, want %s", got, first)
		}
		time.Sleep(day - time.Second)
		operations := driver.operations.Load()
		r.Pulled("a/b", d)
		synctest.Wait()
		if n := driver.operations.Load() - operations; n > 0 {
			t.Errorf("a pull within the tenth costs %d operations", n)
		}
		time.Sleep(time.Second)
		r.Pulled("a/b", d)
		synctest.Wait()
		if got := last(t, driver, "a/b", d); !got.Equal(first.Add(day)) {
			t.Errorf("recorded as pulled at %s, want %s", got, first.Add(day))
		}
		if got := last(t, driver, "a/c", d); !got.IsZero() {
			t.Errorf("in another repository, it is recorded as pulled at %s", got)
		}
	})
}

// Without a rule there is no Recorder, and that records nothing.
func TestNothingIsRecordedWithoutARule(t *testing.T) {
	r := pulls.NewRecorder(inmemory.New(), rulesOf(t, "rules: [{repositories: [a], keep: {newest: 1}}]"), unexpected(t))
	if r != nil {
		t.Error("there is a Recorder")
	}
	r.Start()
	r.Pulled("a", digest.FromString("one"))
	r.Close(t.Context())
}

// What could not be recorded is reported at most once in a minute, and recorded by the next
// pull.
func TestRecordingThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures []string
		driver := &counting{StorageDriver: inmemory.New()}
		r := begin(t, driver, rulesOf(t, "rules: [{repositories: ['**'], pulled: 10d}]"), func(err error) { failures = append(failures, err.Error()) })
		driver.broken.Store(true)
		for n := range 120 {
			r.Pulled("a", digest.FromString(fmt.Sprint(n)))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if len(failures) != 2 || !strings.Contains(failures[1], "60 pulls could not be recorded") || !strings.Contains(failures[1], "the disk is full") {
			t.Errorf("reported was %q", failures)
		}
		driver.broken.Store(false)
		r.Pulled("a", digest.FromString("0"))
		synctest.Wait()
		if last(t, driver, "a", digest.FromString("0")).IsZero() {
			t.Error("the next pull was not recorded")
		}
	})
}

// slow is a storage that writes records only when it is told to.
type slow struct {
	storagedriver.StorageDriver
	gate chan struct{}
}

func (s slow) PutContent(ctx context.Context, path string, content []byte) error {
	if strings.Contains(path, "/pulled/") {
		<-s.gate
	}
	return s.StorageDriver.PutContent(ctx, path, content)
}

// Pulls do not wait for the storage, and what waits is bounded. Closing writes it, and gives
// up on a storage that hangs.
func TestRecordingWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		driver := slow{inmemory.New(), make(chan struct{})}
		r := begin(t, driver, rulesOf(t, "rules: [{repositories: ['**'], pulled: 10d}]"), func(error) { failures++ })
		const many = 5000
		for n := range many {
			r.Pulled("a", digest.FromString(fmt.Sprint(n)))
		}
		if failures != 1 {
			t.Errorf("%d failures are reported when more waits than there is room for", failures)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.Close(ctx)
		close(driver.gate)
		synctest.Wait()
		r.Pulled("a", digest.FromString("after"))
		if last(t, driver, "a", digest.FromString("0")).IsZero() {
			t.Error("what waited was not written")
		}
	})
}

// It is known since when pulls are recorded, as long as some registry says so.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := inmemory.New()
		rules := rulesOf(t, "rules: [{repositories: [a], pulled: 10d}]")
		rule := rules.For("a")
		expect := func(want time.Time) {
			t.Helper()
			synctest.Wait()
			if got, err := pulls.Open(driver).Since(t.Context(), rule, time.Now()); err != nil || !got.Equal(want) {
				t.Errorf("recorded since %s, want %s: %v", got, want, err)
			}
		}
		expect(time.Time{})
		began := time.Now()
		first := begin(t, driver, rules, unexpected(t))
		expect(began)
		time.Sleep(20 * day)
		second := begin(t, driver, rules, unexpected(t))
		first.Close(t.Context())
		time.Sleep(20 * day)
		expect(began)
		second.Close(t.Context())
		time.Sleep(12 * time.Hour)
		expect(began)
		third := begin(t, driver, rules, unexpected(t))
		expect(began)
		third.Close(t.Context())
		time.Sleep(day + time.Second)
		expect(time.Time{}) // it may serve without the rule
		again := time.Now()
		begin(t, driver, rules, unexpected(t))
		expect(again)
		for _, other := range []string{"rules: [{repositories: [a], pulled: 11d}]", "rules: [{repositories: [a, b], pulled: 10d}]", "rules: [{repositories: [b]}, {repositories: [a], pulled: 10d}]"} {
			rule = rulesOf(t, other).For("a")
			expect(time.Time{})
		}
	})
}
