package gc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/retention"
)

// repository is what is known of one repository.
type repository struct {
	name    string
	indexed bool // it has a folder of the index
	report  RepositoryReport
	plan    plan
	rule    *retention.Rule // nil: all tags and referrers stay

	mu         sync.Mutex
	damaged    bool            // something could not be read: everything is kept
	revisions  ids             // the manifests in the repository
	hollow     ids             // folders of revisions that are no longer in it
	hollowTags []string        // folders of tags that point to nothing
	tagged     ids             // what tags point to that stay
	tags       []tag           // all tags, if there are rules about which stay
	released   ids             // what tags pointed to that do not stay
	recorded   bool            // an interrupted run has left a record of what it was removing
	layers     ids             // folders of layer links
	aliases    ids             // digests whose content is stored under another digest
	subjects   ids             // folders of the index
	markers    []string        // files in them that a repair or a push left behind when it was cut off
	others     ids             // those with a file that says that there are links of other algorithms
	derived    ids             // subjects with a derived file
	needs      edges           // from manifests to what they reference, from aliases to their targets, from originals to their conversions
	links      edges           // from subjects to referrers, as the index has it
	own        edges           // from subjects to referrers, as the manifests say
	attached   edges           // both, without beyond
	beyond     edges           // those whose referrers do not stay for their subjects
	unrooted   map[id]struct{} // what only that may have needed which does not stay
	verdicts   Retained        // what was decided, if there are rules

	recordedPulls ids                  // manifests of which there are records of pulls
	use           retention.Use        // what is known of the use of all manifests
	uses          map[id]retention.Use // and of each, if it matters
	used          ids                  // manifests that stay because they were used
}

// findRepositories finds all folders with content of a repository. It does not check
// their names: content in a folder that nobody can pull from is kept too.
func (c *collector) findRepositories(ctx context.Context) error {
	// Without repositories, all blobs are garbage, or this is the wrong folder.
	if _, there, err := c.store.list(ctx, layout.Repositories); !there && err == nil {
		if _, blobs, err := c.store.list(ctx, layout.Blobs); blobs || err != nil {
			return cmp.Or(err, fmt.Errorf("%s: there are blobs, but no such folder", layout.Repositories))
		}
	}
	folders := []string{layout.Repositories}
	for len(folders) > 0 {
		var mu sync.Mutex
		var below []string
		err := each(ctx, c.store, folders, func(ctx context.Context, folder string) error {
			paths, _, err := c.store.list(ctx, folder)
			if err != nil {
				c.keepBlobs() // of repositories that are not found
				return c.trouble(ctx, nil, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if r := repositoryIn(folder, paths); r != nil {
				c.repositories = append(c.repositories, r)
			}
			for _, child := range paths {
				if !strings.HasPrefix(path.Base(child), "_") {
					below = append(below, child)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		folders = below
	}
	c.options.Progress.Expect("repositories", int64(len(c.repositories)))
	return nil
}

// repositoryIn is the repository whose folder has these entries, nil if it is
// not one.
func repositoryIn(folder string, paths []string) *repository {
	name := strings.TrimPrefix(folder, layout.Repositories+"/")
	indexed := slices.Contains(paths, layout.Refs(name))
	if !indexed && !slices.Contains(paths, layout.Manifests(name)) && !slices.Contains(paths, layout.Layers(name)) {
		return nil
	}
	return &repository{name: name, indexed: indexed}
}

// scan reads a repository. The links come before the revisions, because a push
// makes them after: no link of a push meanwhile is seen without its revision.
func (c *collector) scan(ctx context.Context, r *repository) error {
	for _, step := range []struct {
		scan  func(context.Context, *repository) error
		blobs bool // if it fails, it is not known which blobs the repository needs
	}{
		{c.scanLinks, false}, {c.scanTags, false}, {c.scanPulls, false}, {c.scanRevisions, true}, {c.scanLayers, true},
	} {
		if err := step.scan(ctx, r); err != nil {
			if step.blobs {
				c.keepBlobs()
			}
			if err := c.trouble(ctx, r, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collector) scanLinks(ctx context.Context, r *repository) error {
	if !r.indexed {
		return nil
	}
	derived, err := c.store.digests(ctx, layout.DerivedSubjects(r.name))
	if err != nil {
		return err
	}
	for _, subject := range derived {
		r.derived = append(r.derived, c.digests.id(subject))
	}
	subjects, err := c.store.digests(ctx, layout.Subjects(r.name))
	if err != nil {
		return err
	}
	return each(ctx, c.store, subjects, func(ctx context.Context, subject digest.Digest) error {
		var markers []string // of repairs and pushes that were cut off
		others := false
		referrers, err := c.store.digestsAnd(ctx, layout.Subject(r.name, subject), func(file string) {
			switch name := path.Base(file); {
			case name == layout.OtherAlgorithms:
				others = true
			case layout.IsOtherAlgorithms(name), strings.HasPrefix(name, layout.RestoringPrefix):
				markers = append(markers, file)
			}
		})
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		from := c.digests.id(subject)
		r.subjects = append(r.subjects, from)
		r.markers = append(r.markers, markers...)
		if others {
			r.others = append(r.others, from)
		}
		for _, referrer := range referrers {
			r.links = append(r.links, edge{from, c.digests.id(referrer)})
		}
		return nil
	})
}

func (c *collector) scanTags(ctx context.Context, r *repository) error {
	if !c.options.Untagged && !c.options.Dangling && c.options.Retain == nil {
		return nil
	}
	if c.options.Retain != nil {
		r.rule = c.options.Retain(r.name)
		if err := c.scanReleased(ctx, r); err != nil {
			return err
		}
	}
	tags, _, err := c.store.list(ctx, layout.Tags(r.name))
	if err != nil {
		return err
	}
	return each(ctx, c.store, tags, func(ctx context.Context, folder string) error {
		name := path.Base(folder)
		file := layout.TagCurrent(r.name, name)
		content, there, err := c.store.read(ctx, file)
		if !there && err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.hollowTags = append(r.hollowTags, name)
			return nil
		}
		target := digest.Digest(content)
		if err == nil {
			err = target.Validate()
		}
		if err != nil {
			return c.trouble(ctx, r, fmt.Errorf("tag %s in %s: %w", name, r.name, err))
		}
		if c.options.Retain != nil {
			return c.scanTag(ctx, r, name, c.digests.id(target))
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tagged = append(r.tagged, c.digests.id(target))
		return nil
	})
}

func (c *collector) scanRevisions(ctx context.Context, r *repository) error {
	revisions, err := c.store.digests(ctx, layout.Revisions(r.name))
	if err != nil {
		return err
	}
	c.options.Progress.Expect("manifests", int64(len(revisions)))
	return each(ctx, c.store, revisions, func(ctx context.Context, d digest.Digest) error {
		defer c.options.Progress.Add("manifests", 1)
		if err := c.scanRevision(ctx, r, d); err != nil {
			return c.trouble(ctx, r, fmt.Errorf("manifest %s in %s: %w", d, r.name, err))
		}
		return nil
	})
}

// What can be wrong with a link.
var (
	errLink  = errors.New("its link does not contain its digest")
	errAlias = errors.New("its link does not contain a digest")
)

// follow reads the link of a digest and returns the digest that its bytes are stored
// under. If that is another one, the link is an alias: a client has pushed the content
// under a digest of another algorithm, and distribution has stored it under the
// canonical one. An alias needs its target: the target's link, and the bytes.
func (c *collector) follow(ctx context.Context, r *repository, d digest.Digest, link string) (stored digest.Digest, there bool, err error) {
	content, there, err := c.store.read(ctx, link)
	stored = digest.Digest(content)
	switch {
	case err != nil || !there || stored == d:
	case d.Algorithm() == digest.Canonical:
		err = errLink
	case stored.Validate() != nil:
		err = errAlias
	default:
		r.alias(c.digests.id(d), c.digests.id(stored))
	}
	if err != nil && d.Algorithm() != digest.Canonical {
		c.keepBlobs() // its target is not known
	}
	return stored, there, err
}

func (r *repository) alias(from, to id) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aliases = append(r.aliases, from)
	r.needs = append(r.needs, edge{from, to})
}

func (c *collector) scanRevision(ctx context.Context, r *repository, d digest.Digest) error {
	n := c.digests.id(d)
	stored, there, err := c.follow(ctx, r, d, layout.RevisionLink(r.name, d))
	r.mu.Lock()
	if there || err != nil {
		r.revisions = append(r.revisions, n)
	} else {
		r.hollow = append(r.hollow, n)
	}
	r.mu.Unlock()
	if err != nil || !there {
		return err
	}
	var references []manifest.Reached
	var subject, original digest.Digest
	err = c.store.manifest(ctx, stored, func(content []byte) (err error) {
		if d.Algorithm().FromBytes(content) != d {
			return layout.ErrCorrupt
		}
		c.digests.sized(stored, int64(len(content)))
		original = manifest.ConvertedFrom(content)
		references, subject, err = c.options.Reach(content)
		return err
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reference := range references {
		r.needs = append(r.needs, edge{n, c.digests.stated(reference.Digest, reference.Size)})
	}
	if original != "" {
		r.needs = append(r.needs, edge{c.digests.id(original), n})
	}
	if subject != "" {
		r.own = append(r.own, edge{c.digests.id(subject), n})
	}
	return nil
}

func (c *collector) scanLayers(ctx context.Context, r *repository) error {
	layers, err := c.store.digests(ctx, layout.Layers(r.name))
	var followed []digest.Digest
	for _, d := range layers {
		r.layers = append(r.layers, c.digests.id(d))
		if d.Algorithm() != digest.Canonical {
			followed = append(followed, d)
		}
	}
	if err != nil {
		return err
	}
	return each(ctx, c.store, followed, func(ctx context.Context, d digest.Digest) error {
		if _, _, err := c.follow(ctx, r, d, layout.LayerLink(r.name, d)); err != nil {
			return c.trouble(ctx, r, fmt.Errorf("blob %s in %s: %w", d, r.name, err))
		}
		return nil
	})
}
