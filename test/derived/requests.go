package derived

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// poolSize is the maximum number of manifests of a repository, except for those that a
// backup brings back.
const poolSize = 48

// any is one of the replicas, writer one that may write.
func (w *world) any() *replica { return pick(w.rng, w.replicas) }

func (w *world) writer() *replica {
	for {
		if r := w.any(); !r.readOnly {
			return r
		}
	}
}

// change pushes a manifest that does not exist, and deletes one that does, or pushes it
// again.
func (w *world) change() error {
	r, by := pick(w.rng, w.repos), w.writer()
	m := pick(w.rng, r.pool)
	if r.Ledger.Has(m.Digest()) && w.rng.IntN(5) > 0 {
		w.say("delete %s by %s", name(r, m), by)
		return w.delete(r, by.client, m)
	}
	if !pushable(r, m) {
		return nil
	}
	w.say("push %s by %s", name(r, m), by)
	return r.Push(w.t.Context(), by.client, m)
}

// name is a manifest's for the trail.
func name(r *repo, m harness.Manifest) string {
	text := kindOf(m.ContentType) + " " + at(r, m.Digest())
	if m.Subject != nil {
		text += " -> " + short(m.Subject.Digest)
	}
	return text
}

func kindOf(mediaType string) string {
	return strings.TrimSuffix(strings.TrimPrefix(mediaType, "application/vnd."), ".v1+json")
}

func at(r *repo, d digest.Digest) string { return r.Name + "@" + short(d) }

func short(d digest.Digest) string { return d.Encoded()[:12] }

func shorts(list []harness.Manifest) (all []string) {
	for _, m := range list {
		all = append(all, short(m.Digest()))
	}
	return all
}

// pushable reports whether a push of the manifest is accepted: the children of an index
// must exist, and so must the subject of an ORAS artifact.
func pushable(r *repo, m harness.Manifest) bool {
	var needs []harness.Descriptor
	if m.Manifests != nil {
		needs = *m.Manifests
	}
	if m.ContentType == harness.MediaTypeORASArtifact && m.Subject != nil {
		needs = []harness.Descriptor{*m.Subject}
	}
	return !slices.ContainsFunc(needs, func(d harness.Descriptor) bool { return !r.Ledger.Has(d.Digest) && !isSubject(r, d.Digest) })
}

func (w *world) delete(r *repo, c *harness.Client, m harness.Manifest) error {
	d := m.Digest()
	for subject, index := range r.tags {
		if index == d { // the tag goes with it
			if err := w.tell(r, subject); err != nil {
				return err
			}
			delete(r.tags, subject)
		}
	}
	return r.Delete(w.t.Context(), c, d)
}

// push pushes a manifest for the first time: a new one, or one of the other repository.
func (w *world) push() error {
	by := w.writer()
	return w.pushNew(pick(w.rng, w.repos), by.client)
}

func (w *world) pushNew(r *repo, c *harness.Client) error {
	m := w.invent(r)
	if other := pick(w.rng, w.repos); len(other.pool) > 0 && w.rng.IntN(3) == 0 {
		m = pick(w.rng, other.pool)
	}
	if !pushable(r, m) || !r.room(w, m) {
		return nil
	}
	w.say("push %s", name(r, m))
	return r.Push(w.t.Context(), c, m)
}

// room makes room for a manifest in the pool, and reports whether there is any.
func (r *repo) room(w *world, m harness.Manifest) bool {
	if r.knows(m) {
		return true
	}
	for tries := 0; len(r.pool) >= poolSize; tries++ {
		if tries == 16 {
			return false
		}
		i := w.rng.IntN(len(r.pool))
		if !r.Ledger.Has(r.pool[i].Digest()) {
			r.pool = slices.Delete(r.pool, i, i+1)
		}
	}
	r.pool = append(r.pool, m)
	return true
}

// knows reports whether a manifest is in the pool.
func (r *repo) knows(m harness.Manifest) bool { return contains(r.pool, m) }

func contains(list []harness.Manifest, m harness.Manifest) bool {
	return slices.ContainsFunc(list, func(l harness.Manifest) bool { return l.Digest() == m.Digest() })
}

// invent makes a manifest with a subject or without.
func (w *world) invent(r *repo) harness.Manifest {
	m := r.Referrer(w.subject(r))
	if w.rng.IntN(2) == 0 {
		m = m.Annotated(pick(w.rng, []string{harness.OCICreated, harness.ORASCreated}), fmt.Sprintf("2024-01-01T00:00:%02dZ", w.rng.IntN(60)))
	}
	if w.rng.IntN(4) == 0 {
		m.Subject = nil
	}
	return m
}

// subject is an image, a manifest that is never pushed, or one that is pushed and deleted.
func (w *world) subject(r *repo) harness.Descriptor {
	switch n := w.rng.IntN(10); {
	case n < 6 || len(r.pool) == 0:
		return pick(w.rng, r.Subjects)
	case n < 7:
		return r.absent
	}
	return pick(w.rng, r.pool).Descriptor()
}

// list lists the referrers of a subject, by one of the replicas or each page by
// another one, and now and then pulls what is listed.
func (w *world) list() error {
	r := pick(w.rng, w.repos)
	subject := w.subject(r).Digest
	if w.rng.IntN(50) == 0 {
		subject = digest.FromString(fmt.Sprint(w.rng.Uint64())) // an unknown one
	}
	route, pageSize := pick(w.rng, harness.Routes()), w.pageSize()
	by := []*replica{w.any()}
	if w.rng.IntN(4) == 0 && !w.reordered {
		by = slices.Clone(w.replicas)
		w.rng.Shuffle(len(by), func(i, j int) { by[i], by[j] = by[j], by[i] })
	}
	w.say("%s of %s, pages of %d, by %v", route.Name, at(r, subject), pageSize, by)
	listed, err := w.ask(r, route, subject, pageSize, by...)
	if err != nil || w.rng.IntN(8) > 0 {
		return err
	}
	for _, d := range listed {
		there, err := r.Get(w.t.Context(), w.any().client, d.Digest)
		if err != nil || !there {
			return fmt.Errorf("%s is listed, and cannot be pulled: %w", d.Digest, err)
		}
	}
	return nil
}

// pageSize is 0 for the default size, with everything on the first page.
func (w *world) pageSize() int {
	size := w.rng.IntN(2) * (1 + w.rng.IntN(5))
	if w.reordered {
		return 0
	}
	return size
}

// filter lists the referrers of one type, with the entity tag of an earlier answer. The
// answer may be that nothing has changed.
func (w *world) filter() error {
	r, by, route := pick(w.rng, w.repos), w.any(), pick(w.rng, harness.Routes())
	subject := pick(w.rng, r.Subjects).Digest
	artifactType := pick(w.rng, []string{"test/image", "test/oras", "test/artifact", "test/index", "test/none"})
	path := route.With(r.Name, subject, "artifactType", artifactType)
	w.say("%s of %s, %s, by %s", route.Name, at(r, subject), artifactType, by)
	before := w.answers[path]
	resp, err := by.client.Do(w.t.Context(), harness.Request{Method: http.MethodGet, Path: path, Header: harness.Header("If-None-Match: " + before.tag)})
	switch {
	case err != nil:
		return err
	case resp.Status == http.StatusOK:
		before = answer{resp.Header.Get("ETag"), route.Entries(resp)}
		w.answers[path] = before
	case resp.Status != http.StatusNotModified:
		return resp.Err()
	}
	err = r.Ledger.CheckType(route, subject, artifactType, r.Ledger.Now(), before.listed)
	return explain(err, r, route, subject, before.listed, by)
}

// answer is what a registry has answered, and its entity tag.
type answer struct {
	tag    string
	listed []harness.Descriptor
}

// ask lists the referrers of a subject. The error contains the answer, and says what is
// wrong with it.
func (w *world) ask(r *repo, route harness.Route, subject digest.Digest, pageSize int, by ...*replica) ([]harness.Descriptor, error) {
	var clients []*harness.Client
	readOnly := false
	for _, one := range by {
		clients = append(clients, one.client)
		readOnly = readOnly || one.readOnly
	}
	listed, err := r.List(w.t.Context(), route, subject, pageSize, clients...)
	if err == nil && !readOnly && len(by) == 1 { // it has linked what it lists
		r.Ledger.Settled(subject, listed)
		delete(r.untold, subject)
	}
	return listed, explain(err, r, route, subject, listed, by...)
}

// explain adds to an error what was listed and what should have been.
func explain(err error, r *repo, route harness.Route, subject digest.Digest, listed []harness.Descriptor, by ...*replica) error {
	if err == nil {
		return nil
	}
	due, doubtful := r.Ledger.Referrers(subject)
	return fmt.Errorf("%w\n\nlisted by %v on route %s (only ORAS artifacts, except on oci):\n%s\nmust be listed:\n%s\nmay be listed:\n%s",
		err, by, route.Name, lines(listed), lines(descriptors(due)), lines(descriptors(doubtful)))
}

func descriptors(list []harness.Manifest) (all []harness.Descriptor) {
	for _, m := range list {
		all = append(all, m.Descriptor())
	}
	return all
}

func lines(list []harness.Descriptor) (text string) {
	for _, d := range list {
		text += fmt.Sprintf("  %s %s\n", d.Digest, kindOf(d.MediaType))
	}
	return text
}

// tell lets a registry that may write list the referrers of a subject whose tag was moved,
// before that is undone.
func (w *world) tell(r *repo, subject digest.Digest) error {
	if !r.untold[subject] {
		return nil
	}
	_, err := w.ask(r, harness.OCI, subject, 0, w.replicas[0])
	return err
}

// tellAll is tell for all subjects.
func (w *world) tellAll() error {
	var errs []error
	for _, r := range w.repos {
		for subject := range r.untold {
			errs = append(errs, w.tell(r, subject))
		}
	}
	return errors.Join(errs...)
}

// pull pulls a manifest, which may or may not exist.
func (w *world) pull() error {
	r, by := pick(w.rng, w.repos), w.any()
	m := pick(w.rng, r.pool)
	w.say("%s by %s", name(r, m), by)
	there, err := r.Get(w.t.Context(), by.client, m.Digest())
	if err == nil && there != r.Ledger.Has(m.Digest()) {
		err = fmt.Errorf("%s can be pulled from %s: %t", m.Digest(), by, there)
	}
	return err
}

// sweep lets one replica list everything.
func (w *world) sweep() error {
	by := w.any()
	w.say("by %s", by)
	return w.listAll(by)
}

// everything lets all replicas list everything.
func (w *world) everything() error {
	for _, by := range w.replicas {
		if err := w.listAll(by); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) listAll(by *replica) error {
	for _, r := range w.repos {
		subjects := map[digest.Digest]bool{r.absent.Digest: true}
		for _, s := range append(descriptors(r.pool), r.Subjects...) {
			subjects[s.Digest] = true
		}
		for subject := range subjects {
			for _, route := range harness.Routes() {
				if _, err := w.ask(r, route, subject, 0, by); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
