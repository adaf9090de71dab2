package referrers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
)

// attempts is how often a write is tried that another registry on the same tree
// may have got in the way of: filesystems make a file and its folder in two steps.
const attempts = 5

// Add records that referrer, a manifest of the repository, refers to subject. It
// is listed by every replica when Add returns. It costs two storage operations,
// or one where files can have two names.
func (x *Index) Add(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	if x.alias(ctx, repository, subject, referrer) {
		return nil
	}
	err := x.put(ctx, repository, subject, referrer)
	// A delete of the same manifest may have come in between, on another replica,
	// and must not leave a link behind.
	var there bool
	checkErr := despite(ctx, func(ctx context.Context) (err error) {
		if there, err = x.HasRevision(ctx, repository, referrer); err != nil || there {
			return err
		}
		return x.drop(ctx, repository, subject, referrer)
	})
	if checkErr == nil && !there {
		return ErrDeleted{Repository: repository, Manifest: referrer}
	}
	return errors.Join(err, checkErr)
}

// alias makes the link a second name of the revision's own, which says the same.
// That does not wait for the disk: a link that is lost with the power is missed
// by the next process, which makes it again (see repoState.noted). And it takes a
// revision that is there, so that no delete meanwhile can leave a link behind.
func (x *Index) alias(ctx context.Context, repository string, subject, referrer digest.Digest) bool {
	if x.options.Link == nil || ctx.Err() != nil {
		return false
	}
	err := x.options.Link(layout.RevisionLink(repository, referrer), layout.ReferrerLink(repository, subject, referrer))
	if errors.Is(err, fs.ErrExist) { // from an earlier push, and perhaps torn
		there, statErr := x.hasLink(ctx, repository, subject, referrer)
		return there && statErr == nil
	}
	return err == nil
}

// AddNew is Add for a manifest whose bytes were not in the storage before, so
// that nobody can be deleting it. It costs one storage operation.
func (x *Index) AddNew(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	if x.options.Link != nil {
		return x.Add(ctx, repository, subject, referrer) // which costs no more
	}
	return x.put(ctx, repository, subject, referrer)
}

// AddAgain is Add for a manifest that was stored before and is probably linked.
// It costs one storage operation if it is.
func (x *Index) AddAgain(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	there, err := x.hasLink(ctx, repository, subject, referrer)
	if err != nil || there {
		return err
	}
	return x.Add(ctx, repository, subject, referrer)
}

// ErrDeleted is returned by Add for a manifest that is not in the repository.
type ErrDeleted struct {
	Repository string
	Manifest   digest.Digest
}

// Error implements error.
func (e ErrDeleted) Error() string {
	return fmt.Sprintf("manifest %s was deleted from %s while it was being pushed", e.Manifest, e.Repository)
}

// put writes one link.
func (x *Index) put(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	var err error
	for range attempts { // the folder may be taken away while the file is made
		err = x.driver.PutContent(ctx, layout.ReferrerLink(repository, subject, referrer), []byte(referrer))
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("linking %s to its subject %s in %s: %w", referrer, subject, repository, err)
}

// Pushed tells the index that a manifest, with its subject or none, is in the
// repository and linked. It costs no storage operation, and saves reading the
// manifest after the next start.
func (x *Index) Pushed(repository string, manifest, subject digest.Digest) {
	x.derived.pushed(repository, manifest, subject)
}

// Delete runs remove, which removes a manifest from the repository, and keeps
// the index in step: the links go first. If anything fails, they are put back.
func (x *Index) Delete(ctx context.Context, repository string, manifest, subject digest.Digest, remove func() error) error {
	subjects := []digest.Digest{subject}
	if subject == "" {
		// A referrers-tag index may have attached it nevertheless.
		known, err := x.readRevisions(ctx, repository)
		if err != nil {
			return err
		}
		subjects = known.subjects(manifest)
	}
	x.derived.deleted(repository, manifest)
	for _, s := range subjects {
		if err := x.remove(ctx, repository, s, manifest); err != nil {
			x.relinkAll(ctx, repository, subjects, manifest)
			return err
		}
	}
	if err := remove(); err != nil {
		x.relinkAll(ctx, repository, subjects, manifest)
		return err // as it is: distribution's handler tells errors apart by their values
	}
	// A push of the same manifest meanwhile may have linked a revision that is
	// gone again.
	for _, s := range subjects {
		err := despite(ctx, func(ctx context.Context) error {
			if linked, err := x.hasLink(ctx, repository, s, manifest); err != nil || !linked {
				return err
			}
			if there, err := x.HasRevision(ctx, repository, manifest); err != nil || there {
				return err
			}
			return x.drop(ctx, repository, s, manifest)
		})
		if err != nil {
			x.options.Observer.Failed(repository, err)
		}
	}
	return nil
}

// remove removes one link. That it is not there is no error.
func (x *Index) remove(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	var err error
	for range attempts { // a file may be made in the folder while it is emptied
		err = x.driver.Delete(ctx, layout.Referrer(repository, subject, referrer))
		if err == nil || isNotFound(err) {
			return nil
		}
		// Not every driver says in the same way that something is not there.
		_, statErr := x.driver.Stat(ctx, layout.Referrer(repository, subject, referrer))
		if isNotFound(statErr) {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("removing the link from %s to %s in %s: %w", referrer, subject, repository, err)
}

// drop removes the link of a manifest that is not in the repository. If the
// manifest is pushed meanwhile, it gets its link back.
func (x *Index) drop(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	if err := x.remove(ctx, repository, subject, referrer); err != nil {
		return err
	}
	return x.relink(ctx, repository, subject, referrer)
}

// clearUpTimeout is how long the clearing up after a push or delete may take
// that the client has broken off.
const clearUpTimeout = time.Second

// despite does what has to be done whatever becomes of the request: if that ends
// meanwhile, it is tried once more.
func despite(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearUpTimeout)
	defer cancel()
	return do(ctx)
}

// relinkAll puts back the links of a manifest that could not be deleted. Where
// that fails as well, the repository counts as not ready, and the manifest as
// not looked at: the next listing puts the link back first.
func (x *Index) relinkAll(ctx context.Context, repository string, subjects []digest.Digest, manifest digest.Digest) {
	err := despite(ctx, func(ctx context.Context) error {
		there, err := x.HasRevision(ctx, repository, manifest)
		if err == nil && !there {
			return nil
		}
		x.repos.Invalidate(repository)
		if err != nil {
			return err
		}
		for _, s := range subjects {
			err = errors.Join(err, x.relink(ctx, repository, s, manifest))
		}
		return err
	})
	if err != nil {
		x.options.Observer.Failed(repository, err)
	}
}

// relink puts a link back if its revision is still there, and as long as it is.
func (x *Index) relink(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	there, err := x.HasRevision(ctx, repository, referrer)
	if err != nil || !there {
		return err
	}
	if err := x.Add(ctx, repository, subject, referrer); !errors.As(err, new(ErrDeleted)) {
		return err
	}
	return nil
}

// HasRevision reports whether a manifest is in the repository, whatever a
// descriptor cache says. It costs one storage operation.
func (x *Index) HasRevision(ctx context.Context, repository string, manifest digest.Digest) (bool, error) {
	return x.holds(ctx, layout.RevisionLink(repository, manifest), manifest)
}

// hasLink reports whether the referrer is linked to the subject.
func (x *Index) hasLink(ctx context.Context, repository string, subject, referrer digest.Digest) (bool, error) {
	return x.holds(ctx, layout.ReferrerLink(repository, subject, referrer), referrer)
}

// holds reports whether a file is there whose content is the digest. A file of
// another length was not written to its end.
func (x *Index) holds(ctx context.Context, file string, d digest.Digest) (bool, error) {
	info, err := x.driver.Stat(ctx, file)
	switch {
	case isNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for %s: %w", file, err)
	}
	return info.Size() == int64(len(d)), nil
}
