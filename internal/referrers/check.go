package referrers

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
)

// Rebuild reads every manifest of a repository, whatever is known of it, and
// links those that have a subject, as a push would. Where nothing may be written, the
// result says what would have been. each is called for each manifest read. It may run
// beside serving registries.
func (x *Index) Rebuild(ctx context.Context, repository string, each func()) (ScanResult, error) {
	s := &scanner{index: x, repository: repository, step: each, afresh: true}
	if err := s.run(ctx); err != nil {
		return s.result, err
	}
	s.step = func() {} // all have been read
	left, err := s.settle(ctx, append(s.pairs, s.attached...))
	s.result.Added += len(left)
	return s.result, err
}

// Fault is one thing that is wrong with the index of a repository.
type Fault struct {
	Repository string `json:"repository"`
	// Kind is one of the kinds below.
	Kind string `json:"kind"`
	// Path is where the link is, or should be; for a manifest, where its bytes are.
	Path string `json:"path"`
	// Reason says more.
	Reason string `json:"reason"`
	// Repaired says that it has been repaired.
	Repaired bool `json:"repaired"`

	link pair // what has to be linked, if that repairs it
}

// The kinds of faults.
const (
	// FaultMissing is a manifest in the repository that is not linked to its subject.
	FaultMissing = "missing"
	// FaultDangling is a link to a manifest that is not in the repository. It is
	// never listed; a garbage collection removes it.
	FaultDangling = "dangling"
	// FaultMalformed is a link whose path or content is not as it should be.
	FaultMalformed = "malformed"
	// FaultUnreadable is a manifest that cannot be read. Only pushing it again
	// repairs it.
	FaultUnreadable = "unreadable"
)

// Verify compares every link of a repository with every manifest, both ways, and
// returns what is wrong, in the order of the paths. With repair, links that are
// missing or wrong are written as a push would write them, and what no registry
// writes is removed. It may run beside serving registries: what seems wrong is
// asked for again before it is reported, and no link that a push may be making
// at that moment is ever removed; see StillMissing, too. each is called for each
// manifest and link read.
func (x *Index) Verify(ctx context.Context, repository string, repair bool, each func()) ([]Fault, error) {
	scan := &scanner{index: x, repository: repository, step: each, afresh: true}
	if err := scan.run(ctx); err != nil {
		return nil, err
	}
	v := &verifier{index: x, scan: scan, links: map[pair]bool{}}
	if err := v.walk(ctx); err != nil {
		return nil, err
	}
	if err := v.compare(ctx); err != nil {
		return nil, err
	}
	for d, reason := range scan.unreadable {
		v.found(FaultUnreadable, layout.BlobData(d), reason.Error(), pair{})
	}
	slices.SortFunc(v.faults, func(a, b Fault) int { return cmp.Compare(a.Path, b.Path) })
	if !repair {
		return v.faults, nil
	}
	return v.faults, forEach(ctx, x.options.Concurrency, v.faults, func(ctx context.Context, i int) error {
		return v.repair(ctx, &v.faults[i])
	})
}

// StillMissing returns those faults that are not of the kind FaultMissing, or still there. A
// push or delete that is under way looks like a missing link for a moment.
func (x *Index) StillMissing(ctx context.Context, faults []Fault) ([]Fault, error) {
	fine := make([]bool, len(faults))
	err := forEach(ctx, x.options.Concurrency, faults, func(ctx context.Context, i int) error {
		if faults[i].Kind != FaultMissing {
			return nil
		}
		s := &scanner{index: x, repository: faults[i].Repository}
		missing, err := s.isMissing(ctx, faults[i].link)
		fine[i] = !missing
		return err
	})
	var left []Fault
	for i, f := range faults {
		if !fine[i] {
			left = append(left, f)
		}
	}
	return left, err
}

// forEach calls do with each place in a list, several at once.
func forEach[T any](ctx context.Context, concurrency int, list []T, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range list {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// verifier is the verification of one repository.
type verifier struct {
	index  *Index
	scan   *scanner
	mu     sync.Mutex
	links  map[pair]bool
	faults []Fault
}

func (v *verifier) found(kind, where, reason string, link pair) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults = append(v.faults, Fault{Repository: v.scan.repository, Kind: kind, Path: where, Reason: reason, link: link})
}

// walkedAtOnce is how many subjects are walked together: the paths of their links
// are in memory meanwhile.
const walkedAtOnce = 256

// walk reads all links: <alg>/<subject>/<alg>/<referrer>/link.
func (v *verifier) walk(ctx context.Context) error {
	subjects, err := v.below(ctx, []string{layout.Subjects(v.scan.repository)})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(subjects, walkedAtOnce) {
		links, err := v.below(ctx, some)
		if err != nil {
			return err
		}
		err = forEach(ctx, v.index.options.Concurrency, links, func(ctx context.Context, i int) error { return v.read(ctx, links[i]) })
		if err != nil {
			return err
		}
	}
	return nil
}

// below lists what is two levels below some folders.
func (v *verifier) below(ctx context.Context, folders []string) ([]string, error) {
	for range 2 {
		below := make([][]string, len(folders))
		err := forEach(ctx, v.index.options.Concurrency, folders, func(ctx context.Context, i int) (err error) {
			below[i], err = v.list(ctx, folders[i])
			return err
		})
		if err != nil {
			return nil, err
		}
		folders = slices.Concat(below...)
	}
	return folders, nil
}

// list lists a folder. A file in its place is a fault.
func (v *verifier) list(ctx context.Context, folder string) ([]string, error) {
	paths, err := v.index.driver.List(ctx, folder)
	if err == nil || layout.IsNotFound(err) {
		return paths, nil
	}
	if info, statErr := v.index.driver.Stat(ctx, folder); statErr == nil && !info.IsDir() {
		v.found(FaultMalformed, folder, "there is a file where a folder should be", pair{})
		return nil, nil
	}
	return nil, fmt.Errorf("listing %s: %w", folder, err)
}

// read checks the folder of one link.
func (v *verifier) read(ctx context.Context, folder string) error {
	v.scan.step()
	if name := path.Base(folder); layout.IsOtherAlgorithms(name) || strings.HasPrefix(name, layout.RestoringPrefix) {
		return nil
	}
	file := folder + "/" + layout.LinkName
	subject, referrer, ok := layout.ParseReferrer(v.scan.repository, file)
	if !ok || !slices.Contains(layout.Algorithms(), referrer.Algorithm()) {
		v.found(FaultMalformed, folder, "this is not the path of a link", pair{})
		return nil
	}
	if own := v.scan.known[referrer]; own != "" && own != subject {
		v.found(FaultMalformed, folder, "the manifest has another subject", pair{})
		return nil
	}
	content, err := v.index.driver.GetContent(ctx, file)
	if err != nil && !layout.IsNotFound(err) {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	// The names of revisions do not tell: on filesystems, a delete leaves a folder.
	there, askErr := v.index.HasRevision(ctx, v.scan.repository, referrer)
	if askErr != nil {
		return askErr
	}
	l := pair{subject, referrer}
	switch {
	case !there:
		return v.dangling(ctx, folder)
	case err != nil:
		return nil // compare finds it
	case strings.TrimSpace(string(content)) != referrer.String():
		v.found(FaultMalformed, folder, fmt.Sprintf("the link says %q", content[:min(len(content), 100)]), l)
	}
	if seen, err := v.index.isSeen(ctx, v.scan.repository, l); err != nil || !seen {
		return err // compare finds what listings would not see
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.links[l] = true
	return nil
}

// dangling reports a link to a manifest that is gone, unless a delete has just
// removed both.
func (v *verifier) dangling(ctx context.Context, folder string) error {
	_, err := v.index.driver.Stat(ctx, folder)
	switch {
	case layout.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("asking for %s: %w", folder, err)
	}
	v.found(FaultDangling, folder, "the manifest is not in the repository; garbage-collect removes the link", pair{})
	return nil
}

// compare finds the manifests that are not linked.
func (v *verifier) compare(ctx context.Context) error {
	missing := slices.DeleteFunc(append(v.scan.pairs, v.scan.attached...), func(p pair) bool { return v.links[p] })
	return forEach(ctx, v.index.options.Concurrency, missing, func(ctx context.Context, i int) error {
		p := missing[i]
		is, err := v.scan.isMissing(ctx, p)
		if is {
			v.found(FaultMissing, layout.Referrer(v.scan.repository, p.subject, p.referrer), "the manifest is not linked to its subject", p)
		}
		return err
	})
}

func (v *verifier) repair(ctx context.Context, f *Fault) (err error) {
	x := v.index
	switch {
	case f.link != pair{}:
		err = x.restore(ctx, f.Repository, pairs{f.link}, 1, func(_ int, there bool) { f.Repaired = there })
		if err == nil && !f.Repaired {
			f.Reason, f.Repaired = "the manifest was deleted meanwhile", true
		}
	case f.Kind == FaultMalformed:
		err = layout.Remove(ctx, x.driver, f.Path)
		f.Repaired = err == nil
	}
	if err != nil {
		return fmt.Errorf("repairing %s: %w", f.Path, err)
	}
	return nil
}

// Known counts the manifests of a repository, and those among them of which it is written
// down which subject they name: the others have to be read before it can be listed.
func (x *Index) Known(ctx context.Context, repository string) (manifests, known int, err error) {
	s := &scanner{index: x, repository: repository}
	if err := s.ask(ctx); err != nil {
		return 0, 0, err
	}
	for d := range s.present {
		if _, ok := s.known[d]; ok {
			known++
		}
	}
	return len(s.present), known, nil
}
