package derived

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// tagAnnotation marks the indexes that referrers tags point to.
const tagAnnotation = "referrers tag"

// stock is a period with a stock registry, while all of ours are stopped.
func (w *world) stock() error {
	if err := w.tellAll(); err != nil { // what the tags say now may be lost
		return err
	}
	if err := w.endAll(); err != nil {
		return err
	}
	c, end := w.site.stock()
	for _, r := range w.repos {
		for range w.rng.IntN(6) {
			if err := w.changeByStock(r, c); err != nil {
				return err
			}
		}
		for _, subject := range append(r.Subjects, r.absent) {
			if w.rng.IntN(4) == 0 && subject.Digest.Algorithm() == digest.Canonical { // the tag of another would be too long
				if err := w.moveTag(r, c, subject.Digest); err != nil {
					return err
				}
			}
		}
		for range w.rng.IntN(3) {
			if err := w.changeByStock(r, c); err != nil {
				return err
			}
		}
	}
	if err := end(); err != nil {
		return err
	}
	for _, r := range w.repos {
		for subject := range r.untold {
			r.attach(subject)
		}
	}
	w.startAll()
	return nil
}

// unknown reports whether a stock registry refuses a manifest.
func unknown(m harness.Manifest) bool {
	return m.ContentType == harness.MediaTypeORASArtifact || m.ContentType == harness.MediaTypeOCIArtifact ||
		m.Digest().Algorithm() != digest.Canonical
}

// changeByStock pushes or deletes a manifest through a stock registry.
func (w *world) changeByStock(r *repo, c *harness.Client) error {
	m := pick(w.rng, r.pool)
	if w.rng.IntN(3) == 0 {
		for m = w.invent(r); unknown(m); {
			m = w.invent(r)
		}
		if !r.room(w, m) {
			return nil
		}
	}
	switch {
	case r.Ledger.Has(m.Digest()):
		w.say("stock deletes %s", name(r, m))
		for subject, index := range r.tags {
			if index == m.Digest() { // the tag goes with it
				delete(r.tags, subject)
				delete(r.untold, subject)
			}
		}
		return r.Delete(w.t.Context(), c, m.Digest())
	case !unknown(m) && pushable(r, m):
		w.say("stock pushes %s", name(r, m))
		return r.Push(w.t.Context(), c, m)
	}
	return nil
}

// moveTag moves the referrers tag of a subject to a new index, through a stock registry.
// The index also lists manifests with their own subject, which belong to that.
func (w *world) moveTag(r *repo, c *harness.Client, subject digest.Digest) error {
	var list []harness.Manifest
	for range 1 + w.rng.IntN(4) {
		m := pick(w.rng, r.pool)
		if _, isTag := m.Annotations[tagAnnotation]; !isTag && !unknown(m) && r.Ledger.Has(m.Digest()) && !contains(list, m) {
			list = append(list, m)
		}
	}
	index := harness.OCIIndex(descriptors(list)...).Annotated(tagAnnotation, fmt.Sprint(w.step, subject))
	tag := subject.Algorithm().String() + "-" + subject.Encoded()
	w.say("stock moves the tag of %s to %s, which lists %v", at(r, subject), short(index.Digest()), shorts(list))
	r.Ledger.Pushing(index)
	if err := r.PushTag(w.t.Context(), c, tag, index); err != nil {
		return err
	}
	r.Ledger.Pushed(index.Digest())
	r.pool = append(r.pool, index)
	r.tags[subject], r.lists[index.Digest()], r.untold[subject] = index.Digest(), list, true
	for _, m := range list {
		if m.Subject == nil {
			r.Ledger.Doubtful(m.Digest(), subject)
		}
	}
	return nil
}
