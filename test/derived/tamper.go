package derived

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// version is all derived files as they were at some moment, by their paths.
type version map[string][]byte

// versions is how many earlier versions are kept.
const versions = 8

// tamper does something to derived files.
func (w *world) tamper() error {
	did, err := w.tamperWith(w.t.Context(), w.rng)
	w.say("%s", did)
	return err
}

// tamperWith does something to derived files, and says what.
func (w *world) tamperWith(ctx context.Context, rng *rand.Rand) (did string, err error) {
	tree := w.site.tree()
	now := version{}
	for _, r := range w.repos {
		files, err := tree.read(ctx, layout.Derived(r.Name))
		if err != nil {
			return "", err
		}
		maps.Copy(now, files)
	}
	repository := pick(rng, w.repos).Name
	choice := rng.IntN(len(tricks) + 4)
	before := now
	if len(w.versions) > 0 {
		before = pick(rng, w.versions)
	}
	switch {
	case choice == 0:
		if len(w.versions) == versions {
			w.versions = slices.Delete(w.versions, 0, 1)
		}
		w.versions = append(w.versions, now)
		return fmt.Sprintf("keep %d files for later", len(now)), nil
	case choice == 1:
		return "delete all of " + repository, tree.remove(ctx, layout.Derived(repository))
	case choice == 2:
		of := maps.Clone(before)
		maps.DeleteFunc(of, func(path string, _ []byte) bool { return !strings.HasPrefix(path, layout.Derived(repository)+"/") })
		if rng.IntN(2) == 0 {
			if err := tree.remove(ctx, layout.Derived(repository)); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("put back %d files of %s", len(of), repository), tree.write(ctx, of)
	case choice == 3 && len(before) > 0:
		path := before.any(rng)
		return "put back " + path, tree.write(ctx, version{path: before[path]})
	case len(now) == 0:
		return "nothing: there are no files", nil
	}
	path := now.any(rng)
	if choice == 4 || choice == 3 {
		return "delete " + path, tree.remove(ctx, path)
	}
	other := pick(rng, []version{now, before})
	if len(other) == 0 {
		other = now
	}
	trick := tricks[choice-4]
	change := trick.change(rng, path, now[path], other.any(rng), other)
	return fmt.Sprintf("%s %s", trick.name, path), tree.write(ctx, change)
}

// any is the path of one of the files.
func (v version) any(rng *rand.Rand) string {
	return pick(rng, slices.Sorted(maps.Keys(v)))
}

// trick makes another content of that of the file at a path, maybe with the help
// of another file.
type trick struct {
	name   string
	change func(rng *rand.Rand, path string, content []byte, other string, others version) version
}

var tricks = []trick{
	{"delete", nil}, // which is no change of content
	{"empty", func(_ *rand.Rand, path string, _ []byte, _ string, _ version) version {
		return version{path: nil}
	}},
	{"cut off", func(rng *rand.Rand, path string, content []byte, _ string, _ version) version {
		return version{path: content[:rng.IntN(len(content)+1)]}
	}},
	{"flip bits of", func(rng *rand.Rand, path string, content []byte, _ string, _ version) version {
		content = slices.Clone(content)
		for range min(len(content), 1+rng.IntN(3)) {
			content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
		}
		return version{path: content}
	}},
	{"lengthen", func(rng *rand.Rand, path string, content []byte, _ string, _ version) version {
		return version{path: fmt.Appendf(slices.Clone(content), "%x\n", rng.Uint64())}
	}},
	{"repeat the content of", func(_ *rand.Rand, path string, content []byte, _ string, _ version) version {
		return version{path: append(slices.Clone(content), content...)}
	}},
	{"swap", func(_ *rand.Rand, path string, content []byte, other string, others version) version {
		return version{path: others[other], other: content}
	}},
	{"replace by another file", func(_ *rand.Rand, path string, _ []byte, other string, others version) version {
		return version{path: others[other]}
	}},
	{"copy to another name", func(rng *rand.Rand, path string, content []byte, _ string, _ version) version {
		return version{path + fmt.Sprintf("%x", rng.Uint64()): content}
	}},
}

// touch sets times of links and derived data and of their folders, and that of the
// folder of revisions, as clocks that differ do: none of them decides anything. The
// times of revisions tell the collector what is young.
func (w *world) touch() error {
	tree := w.site.tree()
	name := pick(w.rng, w.repos).Name
	times, err := tree.times(layout.Refs(name))
	if err != nil || len(times) == 0 {
		return err
	}
	revisions := filepath.Join(tree.root, layout.Revisions(name), digest.Canonical.String())
	times[revisions] = time.Now()
	paths := slices.Sorted(maps.Keys(times))
	changed := map[string]time.Time{revisions: times[pick(w.rng, paths)]}
	for range 20 {
		changed[pick(w.rng, paths)] = pick(w.rng, []time.Time{
			times[pick(w.rng, paths)], time.Now().Add(time.Duration(w.rng.Int64N(int64(time.Hour)))), time.Unix(1_000_000_000, 0),
		})
	}
	w.say("%d times in %s", len(changed), name)
	return tree.setTimes(changed)
}

// removeDerived removes all derived data.
func (w *world) removeDerived() error {
	for _, r := range w.repos {
		if err := w.site.tree().remove(w.t.Context(), layout.Derived(r.Name)); err != nil {
			return err
		}
	}
	return nil
}
