// Package derived does everything to derived data that can happen to it. It is for
// tests only.
//
// The property: every derived file and every cache may be deleted, restored in an older
// version, overwritten by another replica, truncated or swapped with another
// repository's, at any moment, and each answer is still right. Run takes random steps
// that do that, between pushes, deletes, restarts, kills, periods with a stock registry,
// collections, repairs, and backups that are copied over the tree, with several
// registries on one tree. A load.Ledger knows what every answer must be.
//
// A failure prints the seed and the last steps. The same seed takes the same steps,
// except for background writes of the registries.
package derived

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
)

var (
	stepsFlag   = flag.Int("derived.steps", 0, "how many steps are taken on each storage (by default a number that takes seconds)")
	seedFlag    = flag.Uint64("derived.seed", 0, "the seed that a failure has printed (by default another one each time)")
	withoutFlag = flag.String("derived.without", "", "names of steps that are left out, with commas between them; also read-only, small cache, untagged")
)

// kind is a kind of step.
type kind struct {
	name   string
	weight int
	do     func(*world) error
}

// kinds are all kinds. Steps that start processes have little weight.
func kinds() []kind {
	return []kind{
		{"list", 430, (*world).list},
		{"filter", 50, (*world).filter},
		{"change", 180, (*world).change},
		{"push", 80, (*world).push},
		{"pull", 40, (*world).pull},
		{"sweep", 6, (*world).sweep},
		{"burst", 10, (*world).burst},
		{"tamper", 100, (*world).tamper},
		{"touch", 10, (*world).touch},
		{"restart", 12, (*world).restart},
		{"kill", 8, (*world).kill},
		{"restart all", 4, (*world).restartAll},
		{"rebuild", 3, (*world).rebuild},
		{"repair", 3, (*world).repair},
		{"collect", 4, (*world).collect},
		{"stock", 6, (*world).stock},
		{"backup", 4, (*world).back},
		{"restore", 4, (*world).restore},
	}
}

// Run takes steps with the given number of registries, as many steps as the flag says or
// the default.
func Run(t *testing.T, s Site, registries, byDefault int) {
	w := &world{t: t, site: s, seed: *seedFlag, answers: map[string]answer{}, counts: map[string]int{}}
	if w.seed == 0 {
		w.seed = uint64(time.Now().UnixNano())
	}
	steps := byDefault
	if *stepsFlag > 0 {
		steps = *stepsFlag
	}
	t.Logf("-derived.seed %d -derived.steps %d", w.seed, steps)
	w.setUp(registries)
	started := time.Now()
	list := slices.DeleteFunc(kinds(), func(k kind) bool { return leftOut(k.name) })
	for w.step = range steps {
		w.take(list)
	}
	w.begins("all derived data is gone")
	w.must(w.removeDerived())
	w.must(w.everything())
	w.must(w.restartAll())
	w.must(w.everything())
	w.report(steps, time.Since(started))
}

// leftOut reports whether something is left out, by the flag.
func leftOut(name string) bool { return slices.Contains(strings.Split(*withoutFlag, ","), name) }

// take takes one random step. Each step has its own random numbers, so that they do not
// depend on what the registries have written before.
func (w *world) take(list []kind) {
	w.rng = rand.New(rand.NewPCG(w.seed, uint64(w.step)))
	total := 0
	for _, k := range list {
		total += k.weight
	}
	n := w.rng.IntN(total)
	for _, k := range list {
		if n -= k.weight; n < 0 {
			w.begins(k.name)
			w.counts[k.name]++
			w.must(k.do(w))
			return
		}
	}
}

// world is a tree, its registries, and what is known about them.
type world struct {
	t        *testing.T
	site     Site
	seed     uint64
	step     int
	rng      *rand.Rand
	repos    []*repo
	replicas []*replica
	versions []version
	backup   *backup
	// answers are the last ones to queries that may be asked again, by their paths.
	answers map[string]answer
	// reordered says that the times of bytes have changed under registries that
	// serve. What does not say when it was created is ordered by them, so that pages
	// of one listing may not belong together.
	reordered bool
	trail     []string
	counts    map[string]int
}

// replica is one of our registries on the tree.
type replica struct {
	number int
	client *harness.Client
	settings
}

// settings are the settings that may change with each start.
type settings struct{ readOnly, smallCache bool }

// String is for the trail.
func (r *replica) String() string {
	text := fmt.Sprint("replica ", r.number)
	if r.readOnly {
		text += ", read-only"
	}
	if r.smallCache {
		text += ", small cache"
	}
	return text
}

// repo is a repository of the world.
type repo struct {
	*load.Repository
	// pool are the manifests that are pushed, deleted, and pushed again.
	pool []harness.Manifest
	// tags are the indexes that referrers tags point to, by subject; lists is what
	// an index lists. Of the subjects that are untold, no registry that may write
	// has listed the referrers since their tag was moved.
	tags   map[digest.Digest]digest.Digest
	lists  map[digest.Digest][]harness.Manifest
	untold map[digest.Digest]bool
	// absent is a subject that is never pushed.
	absent harness.Descriptor
}

func (w *world) setUp(registries int) {
	w.begins("set up")
	w.rng = rand.New(rand.NewPCG(w.seed, 1<<63))
	for i := range registries {
		w.replicas = append(w.replicas, &replica{number: i, client: w.site.start(i, settings{})})
	}
	// The same digests stand for the same bytes in both, but are not there at the same time.
	for _, name := range []string{"derived/one", "derived/two"} {
		r := &repo{
			Repository: load.NewRepository(name, 2, w.replicas[0].client),
			tags:       map[digest.Digest]digest.Digest{}, lists: map[digest.Digest][]harness.Manifest{}, untold: map[digest.Digest]bool{},
			absent: harness.Descriptor{MediaType: harness.MediaTypeOCIImage, Digest: digest.FromString("absent"), Size: 7},
		}
		w.repos = append(w.repos, r)
		w.must(w.grow(r, 20))
	}
}

// grow pushes new manifests.
func (w *world) grow(r *repo, count int) error {
	for range count {
		if err := w.pushNew(r, w.replicas[0].client); err != nil {
			return err
		}
	}
	return nil
}

// begins starts the record of a step.
func (w *world) begins(name string) {
	w.trail = append(w.trail, fmt.Sprintf("%6d   %s", w.step, name))
}

// say adds to the record of the step, which a failure prints.
func (w *world) say(format string, args ...any) {
	w.trail[len(w.trail)-1] += "\n         " + fmt.Sprintf(format, args...)
}

// shown is the number of steps that a failure prints.
const shown = 30

// must ends the test if there is an error, and prints what helps to understand it.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("-derived.seed %d, in step %d: %v\n\nthe last steps:\n%s\n\nand all of these manifests:\n%s", w.seed, w.step, err,
			strings.Join(w.trail[max(0, len(w.trail)-shown):], "\n"), strings.Join(w.about(err), "\n"))
	}
}

// about are the lines of the trail about the digest that an error names first.
func (w *world) about(err error) (lines []string) {
	line, _, _ := strings.Cut(err.Error(), "\n")
	for _, d := range anchored.FindAllString(line, -1) {
		lines = append(lines, d)
		for _, r := range w.repos {
			lines = append(lines, w.stored(r, digest.Digest(d))...)
		}
		for _, step := range w.trail {
			head, rest, _ := strings.Cut(step, "\n")
			for _, l := range strings.Split(rest, "\n") {
				if strings.Contains(l, short(digest.Digest(d))) {
					lines = append(lines, head+": "+strings.TrimSpace(l))
				}
			}
		}
	}
	return lines
}

// stored are the links of a manifest, as revision and as referrer.
func (w *world) stored(r *repo, d digest.Digest) (found []string) {
	for _, folder := range []string{layout.Revisions(r.Name), layout.Subjects(r.Name)} {
		files, err := w.site.tree().read(context.WithoutCancel(w.t.Context()), folder)
		if err != nil {
			return []string{err.Error()}
		}
		for path := range files {
			if strings.HasSuffix(path, d.Encoded()+"/"+layout.LinkName) {
				found = append(found, "         in the storage: "+path)
			}
		}
	}
	return found
}

var anchored = regexp.MustCompile("sha256:[0-9a-f]{64}")

func (w *world) report(steps int, took time.Duration) {
	var text []string
	for _, k := range kinds() {
		text = append(text, fmt.Sprintf("%s %d", k.name, w.counts[k.name]))
	}
	var sum load.Counts
	for _, r := range w.repos {
		c := r.Ledger.Counts()
		sum.Pushes, sum.Deletes, sum.Listings, sum.Entries = sum.Pushes+c.Pushes, sum.Deletes+c.Deletes, sum.Listings+c.Listings, sum.Entries+c.Entries
	}
	w.t.Logf("%d steps in %s, %.0f a second: %s; %+v", steps, took.Round(time.Second), float64(steps)/took.Seconds(), strings.Join(text, ", "), sum)
}

// pick is one of a list at random.
func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }
