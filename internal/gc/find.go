package gc

import (
	"context"
	"iter"
	"maps"
	"slices"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// Found is what a look at a whole storage tree has found to be garbage, for a caller that
// removes it bit by bit while others use the tree. Empty folders, what a push that was cut
// off has left in the index, and derived files are left to Collect.
type Found struct {
	c         *collector
	tags      map[Item]bool     // those that are spared
	spared    []map[id]struct{} // by repository
	histories []map[id][]string // by repository: the tags that once pointed to a manifest
}

// Kind is what an Item is.
type Kind int

// The kinds of items.
const (
	Manifest Kind = iota // a manifest in a repository, with its links of the index
	Layer                // a layer link
	Blob                 // the bytes of a manifest or blob
	Tag                  // a tag that does not stay
)

// Item is one thing that is garbage.
type Item struct {
	Kind       Kind
	repository int
	n          id // of a tag: its place among those that go
}

// Find reads everything, as Collect does, and removes nothing.
func Find(ctx context.Context, driver storagedriver.StorageDriver, options Options) (*Found, error) {
	c := newCollector(driver, options)
	c.online = true
	if err := c.read(ctx); err != nil {
		return nil, err
	}
	return newFound(c), nil
}

func newFound(c *collector) *Found {
	return &Found{c: c, tags: map[Item]bool{}, spared: make([]map[id]struct{}, len(c.repositories)), histories: make([]map[id][]string, len(c.repositories))}
}

// Name is the repository of an item, empty for a blob, and its digest; that of a tag is the
// manifest's that it points to.
func (f *Found) Name(i Item) (repository string, d digest.Digest) {
	if i.Kind != Blob {
		repository = f.c.repositories[i.repository].name
	}
	if i.Kind == Tag {
		return repository, f.c.digests.digest(f.tag(i).target)
	}
	return repository, f.c.digests.digest(i.n)
}

// TagName is the name of an item that is a tag.
func (f *Found) TagName(i Item) string { return f.tag(i).name }

func (f *Found) tag(i Item) tag { return f.c.repositories[i.repository].plan.tags[i.n] }

// Links yields all that is in a repository: manifests and layer links.
func (f *Found) Links() iter.Seq2[string, digest.Digest] {
	return func(yield func(string, digest.Digest) bool) {
		for _, r := range f.c.repositories {
			for _, list := range []ids{r.revisions, r.layers} {
				for _, n := range list {
					if !yield(r.name, f.c.digests.digest(n)) {
						return
					}
				}
			}
		}
	}
}

// Batches divides the garbage into batches of at most limit items, except that items which
// reach each other are in one. What reaches others comes before them.
func (f *Found) Batches(limit int) (batches [][]Item) {
	var batch []Item
	add := func(group ...Item) {
		if len(batch) > 0 && len(batch)+len(group) > limit {
			batches, batch = append(batches, batch), nil
		}
		batch = append(batch, group...)
	}
	for i, r := range f.c.repositories {
		followers := map[id][]Item{}
		for n, t := range r.plan.tags {
			if item := (Item{Tag, i, id(n)}); r.follows(t) {
				followers[t.target] = append(followers[t.target], item)
			} else {
				add(item)
			}
		}
		for _, group := range append(r.components(), r.lost()...) {
			var items []Item
			for _, n := range group {
				items = append(append(items, followers[n]...), Item{Manifest, i, n})
			}
			add(items...)
		}
	}
	for i, r := range f.c.repositories {
		for _, n := range r.plan.layers {
			add(Item{Layer, i, n})
		}
	}
	for _, n := range f.c.garbage {
		add(Item{Blob, 0, n})
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches
}

// follows reports whether a tag that does not stay is kept if its manifest is: a rule about
// pulls keeps both.
func (r *repository) follows(t tag) bool {
	return r.rule.DecidesManifests() && r.plan.revisions.has(t.target)
}

// Spare keeps an item, and all that it reaches.
func (f *Found) Spare(i Item) {
	switch i.Kind {
	case Blob:
		f.c.digests.keep(i.n)
		return
	case Tag:
		f.tags[i] = true
		i.n = f.tag(i).target
	}
	spared := f.spared[i.repository]
	if _, done := spared[i.n]; done {
		return
	}
	if spared == nil {
		spared = map[id]struct{}{}
		f.spared[i.repository] = spared
	}
	r := f.c.repositories[i.repository]
	reached := Mark(slices.Values([]id{i.n}), r.needs.from, r.referrers)
	maps.Copy(spared, reached)
	f.c.digests.keepAll(reached)
}

// IsSpared reports whether an item is kept.
func (f *Found) IsSpared(i Item) bool {
	switch i.Kind {
	case Blob:
		_, kept := f.c.digests.look(i.n)
		return kept
	case Tag:
		t, r := f.tag(i), f.c.repositories[i.repository]
		if f.tags[i] || !r.follows(t) {
			return f.tags[i]
		}
		i.n = t.target
	}
	_, spared := f.spared[i.repository][i.n]
	return spared
}

// Remove removes items of one batch that are not spared, in an order in which a run that is
// interrupted leaves nothing broken.
func (f *Found) Remove(ctx context.Context, items []Item) error {
	tags, manifests, layers := map[int][]tag{}, map[int]ids{}, map[int]ids{}
	var blobs ids
	for _, i := range items {
		switch i.Kind {
		case Tag:
			tags[i.repository] = append(tags[i.repository], f.tag(i))
		case Manifest:
			manifests[i.repository] = append(manifests[i.repository], i.n)
		case Layer:
			layers[i.repository] = append(layers[i.repository], i.n)
		case Blob:
			blobs = append(blobs, i.n)
		}
	}
	for repository, list := range tags {
		if err := f.c.untag(ctx, f.c.repositories[repository], list); err != nil {
			return err
		}
	}
	for _, repository := range slices.Sorted(maps.Keys(manifests)) {
		for _, wave := range f.c.repositories[repository].waves(manifests[repository]) {
			if err := f.removeManifests(ctx, repository, wave.sorted()); err != nil {
				return err
			}
		}
	}
	for _, repository := range slices.Sorted(maps.Keys(layers)) {
		if err := f.c.removeLayers(ctx, f.c.repositories[repository], layers[repository]); err != nil {
			return err
		}
	}
	return f.c.sweepBlobs(ctx, blobs)
}

// removeManifests removes manifests of one repository.
func (f *Found) removeManifests(ctx context.Context, repository int, manifests ids) error {
	c, r := f.c, f.c.repositories[repository]
	// Replicas trust a link whose revision they have seen, so that all links go first.
	links := slices.DeleteFunc(slices.Concat(r.plan.links, r.plan.lateLinks), func(link edge) bool { return !manifests.has(link.to) })
	if err := c.sweepLinks(ctx, r, links); err != nil {
		return err
	}
	if f.histories[repository] == nil {
		histories, err := c.histories(ctx, r, r.plan.revisions)
		if err != nil {
			return err
		}
		f.histories[repository] = histories
	}
	if err := c.removeFromTags(ctx, r, manifests, f.histories[repository]); err != nil {
		return err
	}
	there := slices.DeleteFunc(slices.Clone(manifests), func(n id) bool { return !r.revisions.has(n) })
	return c.removeRevisions(ctx, r, there)
}

// Report is what has been found and removed; what is spared is kept. It may be called once.
func (f *Found) Report() Report {
	c := f.c
	for i, r := range c.repositories {
		spared := func(n id) bool {
			_, is := f.spared[i][n]
			return is
		}
		p := &r.plan
		var tags []tag
		for n, t := range p.tags {
			if !f.IsSpared(Item{Tag, i, id(n)}) {
				tags = append(tags, t)
			}
		}
		p.tags = tags
		p.revisions = slices.DeleteFunc(p.revisions, spared)
		p.layers = slices.DeleteFunc(p.layers, spared)
		for _, links := range []*edges{&p.links, &p.lateLinks} {
			*links = slices.DeleteFunc(*links, func(link edge) bool { return spared(link.to) })
		}
	}
	for _, n := range c.garbage {
		if size, kept := c.digests.look(n); kept {
			c.report.Blobs.Kept++
			c.report.Bytes.Kept += max(size, 0)
		}
	}
	c.finishReport()
	return c.report
}

// lost are referrers that links lead to and that are not in the repository.
func (r *repository) lost() (groups []ids) {
	var list ids
	for _, link := range r.plan.links {
		if !r.revisions.has(link.to) {
			list = append(list, link.to)
		}
	}
	for _, n := range list.sorted() {
		groups = append(groups, ids{n})
	}
	return groups
}
