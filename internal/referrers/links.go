package referrers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
)

// attempts is how often a write is tried.
const attempts = 5

// persist does what others on the same tree may get in the way of.
func persist(ctx context.Context, do func() error) error {
	var err error
	for range attempts {
		if err = layout.Undisturbed(ctx, do); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Add records that referrer, a manifest of the repository, refers to subject. It
// is listed by every replica when Add returns. It costs two storage operations.
func (x *Index) Add(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	err := x.create(ctx, repository, subject, referrer)
	// A delete of the same manifest may have come in between, on another replica,
	// and must not leave a link behind.
	var there bool
	checkErr := despite(ctx, func(ctx context.Context) (err error) {
		there, err = x.withdraw(ctx, repository, subject, referrer)
		return err
	})
	if checkErr == nil && !there {
		return DeletedError{Repository: repository, Manifest: referrer}
	}
	return errors.Join(err, checkErr)
}

// restore links manifests that were found without their links to the one subject
// that they have, some at a time, and tells done of each whether it is still there.
//
// A delete that is under way on another replica looks the same as one that was cut
// off: the link is gone and the revision is not yet. So a restored link can come
// after the delete has been answered, and stay until relink has asked for the
// revision again. Replicas that have listed the manifest before would list it once
// more, did they not see by a file beside the links that they have to ask for every
// revision. One that is left behind by a crash makes listings of the subject slower,
// and is removed by a garbage collection.
func (x *Index) restore(ctx context.Context, repository string, list pairs, atOnce int, done func(i int, there bool)) error {
	subject := list[0].subject
	marker := layout.Restoring(repository, subject, rand.Text())
	if err := x.driver.PutContent(ctx, marker, []byte(subject)); err != nil {
		return fmt.Errorf("restoring links to %s in %s: %w", subject, repository, err)
	}
	err := forEach(ctx, atOnce, list, func(ctx context.Context, i int) error {
		there, err := x.relink(ctx, repository, list[i])
		done(i, there)
		return err
	})
	x.failed(repository, despite(ctx, func(ctx context.Context) error { return layout.Remove(ctx, x.driver, marker) }))
	return err
}

// relink is Add for a manifest that was found without its link. It reports whether
// the manifest is still there.
func (x *Index) relink(ctx context.Context, repository string, p pair) (bool, error) {
	err := x.Add(ctx, repository, p.subject, p.referrer)
	if errors.As(err, new(DeletedError)) {
		return false, nil
	}
	return err == nil, err
}

// DeletedError is returned by Add for a manifest that is not in the repository.
type DeletedError struct {
	Repository string
	Manifest   digest.Digest
}

// Error implements error.
func (e DeletedError) Error() string {
	return fmt.Sprintf("manifest %s was deleted from %s while it was being pushed", e.Manifest, e.Repository)
}

// create writes one link.
func (x *Index) create(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	err := persist(ctx, func() error { // the folder may be taken away while the file is made
		if seen, err := x.isSeen(ctx, repository, pair{subject, referrer}); err != nil {
			return err
		} else if !seen {
			if err := x.driver.PutContent(ctx, layout.OtherReferrers(repository, subject), []byte(subject)); err != nil {
				return err
			}
		}
		return x.driver.PutContent(ctx, layout.ReferrerLink(repository, subject, referrer), []byte(referrer))
	})
	if err != nil {
		return fmt.Errorf("linking %s to its subject %s in %s: %w", referrer, subject, repository, err)
	}
	return nil
}

// Pushed tells the index what the bytes of a manifest say that is now in the
// repository and linked. It costs no storage operation, and saves reading the
// manifest later. An index without subject is not noted: it may be a
// referrers-tag index, which has to be read with the tags.
func (x *Index) Pushed(repository string, d digest.Digest, mediaType string, subject digest.Digest) {
	if subject != "" || mediaType != v1.MediaTypeImageIndex {
		x.notes.read(repository, d, subject)
	}
}

// Delete runs remove, which removes a manifest from the repository, and keeps
// the index in step: the link to the subject that the manifest names goes first.
// If anything fails, it is put back. A manifest that names none may have been
// attached by a referrers-tag index; listings ask for it every time.
func (x *Index) Delete(ctx context.Context, repository string, manifest, subject digest.Digest, remove func() error) error {
	if subject == "" {
		return remove()
	}
	err := x.remove(ctx, repository, subject, manifest)
	if err == nil {
		err = remove()
	}
	x.unsee(setKey{repository, subject}, manifest) // a repair beside it may link the manifest for a moment
	if err != nil {
		putErr := despite(ctx, func(ctx context.Context) error { return x.putBack(ctx, repository, subject, manifest) })
		if putErr != nil {
			x.ready.forget(repository) // getting it ready again finds the manifest, and the next listing links it
			x.failed(repository, putErr)
		}
		return err // as it is: distribution's handler tells errors apart by their values
	}
	// A push of the same manifest meanwhile may have linked a revision that is
	// gone again.
	x.failed(repository, despite(ctx, func(ctx context.Context) error {
		linked, err := x.hasLink(ctx, repository, subject, manifest)
		if err == nil && linked {
			_, err = x.withdraw(ctx, repository, subject, manifest)
		}
		return err
	}))
	return nil
}

// remove removes one link. That it is not there is no error.
func (x *Index) remove(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	err := persist(ctx, func() error { // a file may be made in the folder while it is emptied
		return layout.Remove(ctx, x.driver, layout.Referrer(repository, subject, referrer))
	})
	if err != nil {
		return fmt.Errorf("removing the link from %s to %s in %s: %w", referrer, subject, repository, err)
	}
	return nil
}

// withdraw removes the link of a manifest unless it was in the repository, as it
// reports. If the manifest is pushed meanwhile, it gets its link back.
func (x *Index) withdraw(ctx context.Context, repository string, subject, referrer digest.Digest) (there bool, err error) {
	if there, err = x.HasRevision(ctx, repository, referrer); err != nil || there {
		return there, err
	}
	if err := x.remove(ctx, repository, subject, referrer); err != nil {
		return false, err
	}
	return false, x.putBack(ctx, repository, subject, referrer)
}

// putBack links a manifest again whose link was removed, if it is in the repository.
func (x *Index) putBack(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	there, err := x.HasRevision(ctx, repository, referrer)
	if err == nil && there {
		_, err = x.relink(ctx, repository, pair{subject, referrer})
	}
	return err
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

// HasRevision reports whether a manifest is in the repository, whatever a
// descriptor cache says. It costs one storage operation.
func (x *Index) HasRevision(ctx context.Context, repository string, manifest digest.Digest) (bool, error) {
	return x.reader.Holds(ctx, layout.RevisionLink(repository, manifest), manifest)
}

// hasLink reports whether the referrer is linked to the subject.
func (x *Index) hasLink(ctx context.Context, repository string, subject, referrer digest.Digest) (bool, error) {
	if seen, err := x.isSeen(ctx, repository, pair{subject, referrer}); err != nil || !seen {
		return false, err
	}
	return x.reader.Holds(ctx, layout.ReferrerLink(repository, subject, referrer), referrer)
}

// isSeen reports whether listings see the link of a manifest, if it has one: for
// other algorithms than the canonical one, a second file has to be there.
func (x *Index) isSeen(ctx context.Context, repository string, p pair) (bool, error) {
	if p.referrer.Algorithm() == digest.Canonical {
		return true, nil
	}
	return x.reader.Holds(ctx, layout.OtherReferrers(repository, p.subject), p.subject)
}
