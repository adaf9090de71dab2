package referrers

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/extensions/layout"
)

// Rebuild links all manifests of a repository that have a subject, reading each
// of them whatever was noted before. With ReadOnly nothing is written, and the
// result says what would have been. each is called for each manifest read.
func (x *Index) Rebuild(ctx context.Context, repository string, each func()) (ScanResult, error) {
	s := &scanner{
		index: x, repository: repository, write: !x.options.ReadOnly, each: each,
		state: &repoState{}, afresh: true,
	}
	_, err := s.run(ctx)
	return s.result, err
}

// Fault is one thing that is wrong with the index of a repository.
type Fault struct {
	Repository string `json:"repository"`
	// Kind is one of the kinds below.
	Kind string `json:"kind"`
	// Path is where the link is, or should be.
	Path string `json:"path"`
	// Reason says more.
	Reason string `json:"reason"`
	// Repaired says that it has been mended.
	Repaired bool `json:"repaired"`

	subject, referrer digest.Digest
}

// The kinds of faults.
const (
	// FaultMissing is a manifest in the repository that is not linked to its subject.
	FaultMissing = "missing"
	// FaultDangling is a link to a manifest that is not in the repository.
	FaultDangling = "dangling"
	// FaultMalformed is a link whose path or content is not as it should be.
	FaultMalformed = "malformed"
)

// Verify holds every link of a repository against every manifest, both ways, and
// returns what is wrong, in the order of the paths. With repair it mends what it
// finds: links that are missing are made, others removed or written anew. each is
// called for each manifest and link that was looked at.
func (x *Index) Verify(ctx context.Context, repository string, repair bool, each func()) ([]Fault, error) {
	scan := &scanner{index: x, repository: repository, each: each, state: &repoState{}, afresh: true}
	if _, err := scan.run(ctx); err != nil {
		return nil, err
	}
	v := &verifier{index: x, scan: scan, each: each, links: map[link]bool{}}
	if err := v.walk(ctx); err != nil {
		return nil, err
	}
	v.compare()
	sort.Slice(v.faults, func(i, j int) bool { return v.faults[i].Path < v.faults[j].Path })
	if repair {
		for i := range v.faults {
			if err := v.repair(ctx, &v.faults[i]); err != nil {
				return v.faults, err
			}
		}
	}
	return v.faults, nil
}

type link struct{ subject, referrer digest.Digest }

// verifier is the verification of one repository.
type verifier struct {
	index  *Index
	scan   *scanner
	each   func()
	mu     sync.Mutex
	links  map[link]bool
	faults []Fault
}

func (v *verifier) found(kind, where, reason string, l link) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults = append(v.faults, Fault{
		Repository: v.scan.repository, Kind: kind, Path: where, Reason: reason,
		subject: l.subject, referrer: l.referrer,
	})
}

// walk reads all links: <alg>/<subject>/<alg>/<referrer>/link.
func (v *verifier) walk(ctx context.Context) error {
	folders := []string{layout.Subjects(v.scan.repository)}
	for range 4 {
		var next []string
		var mu sync.Mutex
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(v.index.options.Concurrency)
		for _, folder := range folders {
			group.Go(func() error {
				paths, err := v.list(groupCtx, folder)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				next = append(next, paths...)
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		folders = next
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(v.index.options.Concurrency)
	for _, folder := range folders {
		group.Go(func() error { return v.read(groupCtx, folder) })
	}
	return group.Wait()
}

// list lists a folder. A file in its place is a fault.
func (v *verifier) list(ctx context.Context, folder string) ([]string, error) {
	paths, err := v.index.driver.List(ctx, folder)
	if err == nil || isNotFound(err) {
		return paths, nil
	}
	if info, statErr := v.index.driver.Stat(ctx, folder); statErr == nil && !info.IsDir() {
		v.found(FaultMalformed, folder, "a file stands where a folder should be", link{})
		return nil, nil
	}
	return nil, fmt.Errorf("listing %s: %w", folder, err)
}

// read looks at the folder of one link.
func (v *verifier) read(ctx context.Context, folder string) error {
	if v.each != nil {
		v.each()
	}
	file := folder + "/" + layout.LinkName
	subject, referrer, ok := layout.ParseReferrer(v.scan.repository, file)
	if !ok || referrer.Algorithm() != digest.Canonical {
		v.found(FaultMalformed, folder, "the path is not that of a link", link{})
		return nil
	}
	l := link{subject, referrer}
	content, err := v.index.driver.GetContent(ctx, file)
	switch {
	case isNotFound(err) && !v.scan.isPresent(referrer):
		v.found(FaultDangling, folder, "the folder has no link, and the repository no such manifest", l)
		return nil
	case isNotFound(err):
		v.found(FaultMalformed, folder, "the folder has no link", l)
		return nil
	case err != nil:
		return fmt.Errorf("reading %s: %w", file, err)
	}
	v.mu.Lock()
	v.links[l] = true
	v.mu.Unlock()
	switch {
	case !v.scan.isPresent(referrer):
		v.found(FaultDangling, folder, "the manifest is not in the repository", l)
	case v.unrelated(l):
		v.found(FaultMalformed, folder, "the manifest has another subject", link{})
	case strings.TrimSpace(string(content)) != referrer.String():
		v.found(FaultMalformed, folder, fmt.Sprintf("the link says %q", content), l)
	}
	return nil
}

// unrelated reports whether the referrer of a link names other subjects only.
// One that names none may have been attached by a referrers-tag index.
func (v *verifier) unrelated(l link) bool {
	subjects := v.scan.known.subjects(l.referrer)
	for _, s := range subjects {
		if s == l.subject {
			return false
		}
	}
	return len(subjects) > 0
}

// compare finds the manifests that are not linked.
func (v *verifier) compare() {
	for referrer, subjects := range v.scan.known.known {
		for _, subject := range subjects {
			if l := (link{subject, referrer}); !v.links[l] && !v.reported(l) {
				v.found(FaultMissing, layout.Referrer(v.scan.repository, subject, referrer), "the manifest is not linked to its subject", l)
			}
		}
	}
}

func (v *verifier) reported(l link) bool {
	for _, f := range v.faults {
		if f.subject == l.subject && f.referrer == l.referrer {
			return true
		}
	}
	return false
}

func (v *verifier) repair(ctx context.Context, f *Fault) error {
	x := v.index
	var err error
	switch {
	case f.Kind == FaultMissing, f.Kind == FaultMalformed && f.referrer != "":
		err = x.put(ctx, f.Repository, f.subject, f.referrer)
	default:
		if err = x.driver.Delete(ctx, f.Path); isNotFound(err) {
			err = nil
		}
		if f.referrer != "" { // it may have been pushed this moment
			err = errors.Join(err, x.relink(ctx, f.Repository, f.subject, f.referrer))
		}
	}
	if err != nil {
		return fmt.Errorf("repairing %s: %w", path.Clean(f.Path), err)
	}
	f.Repaired = true
	return nil
}
