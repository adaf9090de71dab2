package promises_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// readOnly is the configuration of a registry that may not write.
const readOnly = "storage: {maintenance: {readonly: {enabled: true}}}"

// beside starts another registry on the tree of a running one.
func beside(t *testing.T, r *harness.Registry, o harness.Options) *harness.Registry {
	t.Helper()
	o.Root = r.Root
	return harness.Start(t, o)
}

// numbered is a different referrer for each number.
func numbered(subject harness.Descriptor, number int) harness.Manifest {
	return harness.OCIIndex().Typed("a/b").To(subject).Annotated("number", fmt.Sprint(number))
}

// push pushes numbered referrers from one number up to another.
func push(c *harness.Client, subject harness.Descriptor, from, to int) {
	for i := from; i < to; i++ {
		c.MustPush("app", "", numbered(subject, i))
	}
}

// expectListed expects a listing to contain those of the numbered referrers below count
// for which there is true, and no others.
func expectListed(t *testing.T, when string, c *harness.Client, subject harness.Descriptor, count int, there func(i int) bool) {
	t.Helper()
	listed := map[digest.Digest]int{}
	for _, d := range c.Referrers(harness.OCI, "app", subject.Digest) {
		listed[d.Digest]++
	}
	var missing, gone, first int
	for i := count - 1; i >= 0; i-- {
		d := numbered(subject, i).Digest()
		switch {
		case there(i) && listed[d] != 1:
			missing, first = missing+1, i
		case !there(i) && listed[d] != 0:
			gone, first = gone+1, i
		}
		delete(listed, d)
	}
	if missing+gone+len(listed) > 0 {
		t.Errorf("%s: %d are missing, %d are listed but do not exist, the first is number %d; %d are unknown", when, missing, gone, first, len(listed))
	}
}

func all(int) bool  { return true }
func none(int) bool { return false }

// What a stock registry deletes is not listed, although two replicas that were stopped at
// the same moment both wrote their derived files.
func TestReplicasStoppedTogether(t *testing.T) {
	t.Parallel()
	const rounds, each = 4, 60
	first := harness.Start(t, harness.Options{})
	replicas := []*harness.Registry{first, beside(t, first, harness.Options{})}
	theirs := beside(t, first, harness.Options{Binary: harness.StockBinary(t)})
	seed := harness.NewSeed(t, first.Root, "app")
	seed.Many(2_000, func(i int) { seed.Manifest(harness.OCIIndex().Annotated("image", fmt.Sprint(i))) })
	images := make([]harness.Descriptor, len(replicas)) // one for each replica
	for i := range images {
		images[i] = first.Client().PushImage("app", fmt.Sprint(i), fmt.Sprint("layer ", i))
		awaitReady(replicas[i].Client(), "app", images[i].Digest)
	}
	for round := range rounds {
		from, to := round*each, (round+1)*each
		together(replicas, func(i int, r *harness.Registry) {
			push(r.Client(), images[i], from, to)
			expectListed(t, "before", r.Client(), images[i], to, func(n int) bool { return n >= from })
		})
		together(replicas, func(_ int, r *harness.Registry) { _ = r.Stop() })
		for _, image := range images {
			for n := from; n < to; n++ {
				theirs.Client().DeleteManifest("app", numbered(image, n).Digest())
			}
		}
		for _, r := range replicas {
			r.Restart()
			for i, image := range images {
				expectListed(t, fmt.Sprintf("round %d, image %d, after a stock registry has deleted all", round, i), r.Client(), image, to, none)
			}
		}
	}
}

// together calls a function for all replicas at the same time.
func together(replicas []*harness.Registry, do func(i int, r *harness.Registry)) {
	var group sync.WaitGroup
	for i, r := range replicas {
		group.Go(func() { do(i, r) })
	}
	group.Wait()
}

// A read-only replica lists in its very next answer what another one has pushed, and no
// longer what that one has deleted, even if a stock registry has left referrers without
// links, and links to manifests that are gone.
func TestReadOnlyReplicaFollows(t *testing.T) {
	t.Parallel()
	const each = 5
	writer := harness.Start(t, harness.Options{})
	image := writer.Client().PushImage("app", "v1", "layer")
	push(writer.Client(), image, 0, 2*each)
	expectListed(t, "at first", writer.Client(), image, 2*each, all)
	if err := writer.Stop(); err != nil {
		t.Error(err)
	}
	theirs := beside(t, writer, harness.Options{Binary: harness.StockBinary(t)})
	push(theirs.Client(), image, 2*each, 4*each)
	for i := range each {
		theirs.Client().DeleteManifest("app", numbered(image, i).Digest())
	}
	if err := theirs.Stop(); err != nil {
		t.Error(err)
	}
	there := map[int]bool{}
	for i := each; i < 4*each; i++ {
		there[i] = true
	}
	reader := beside(t, writer, harness.Options{Config: readOnly}).Client()
	expect := func(when string) {
		t.Helper()
		expectListed(t, when, reader, image, 5*each, func(i int) bool { return there[i] })
	}
	expect("after the stock registry")

	writer.Restart()
	c := writer.Client()
	for i := 4*each - 1; i >= 0; i-- {
		if there[i] {
			c.DeleteManifest("app", numbered(image, i).Digest())
			there[i] = false
			expect(fmt.Sprintf("after the deletion of number %d", i))
		}
	}
	for i := range 5 * each {
		c.MustPush("app", "", numbered(image, i))
		there[i] = true
		expect(fmt.Sprintf("after the push of number %d", i))
	}
}
