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

// attempts is how often a write is tried that another registry on the same tree
// may have got in the way of: filesystems make a file and its folder in two steps.
const attempts = 5

// Add records that referrer, a manifest of the repository, refers to subject. It
// is listed by every replica when Add returns. It costs two storage operations.
func (x *Index) Add(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	err := x.create(ctx, repository, subject, referrer)
	// A delete of the same manifest may have come in between, on another replica,
	// and must not leave a link behind.
	var there bool
	checkErr := despite(ctx, func(ctx context.Context) (err error) {
		if there, err = x.HasRevision(ctx, repository, referrer); err != nil || there {
			return err
		}
		return x.withdraw(ctx, repository, subject, referrer)
	})
	if checkErr == nil && !there {
		return DeletedError{Repository: repository, Manifest: referrer}
	}
	return errors.Join(err, checkErr)
}

// restoring runs do, which restores links to a subject. A delete that is under way
// on another replica looks the same as one that was cut off: the link is gone and
// the revision is not yet. So a restored link can come after the delete has been
// answered, and stay until restore has asked for the revision again. Replicas
// that have listed the manifest before would list it once more, did they not see
// by a file beside the links that they have to ask for every revision. One that
// is left behind by a crash makes listings of the subject slower, and is removed
// by a garbage collection.
func (x *Index) restoring(ctx context.Context, repository string, subject digest.Digest, do func() error) error {
	marker := layout.Restoring(repository, subject, rand.Text())
	if err := x.driver.PutContent(ctx, marker, []byte(subject)); err != nil {
		return fmt.Errorf("restoring links to %s in %s: %w", subject, repository, err)
	}
	err := do()
	removeErr := despite(ctx, func(ctx context.Context) error {
		if err := x.driver.Delete(ctx, marker); !layout.IsNotFound(err) {
			return err
		}
		return nil
	})
	if removeErr != nil {
		x.options.Observer.Failed(repository, removeErr)
	}
	return err
}

// restore is Add for a manifest that was found without its link. It reports
// whether the manifest is still there.
func (x *Index) restore(ctx context.Context, repository string, subject, referrer digest.Digest) (bool, error) {
	err := x.Add(ctx, repository, subject, referrer)
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
	x.sets.Invalidate(setKey{repository, subject}) // a repair beside it may link the manifest for a moment
	if err != nil {
		x.reinstate(ctx, repository, subject, manifest)
		return err // as it is: distribution's handler tells errors apart by their values
	}
	// A push of the same manifest meanwhile may have linked a revision that is
	// gone again.
	err = despite(ctx, func(ctx context.Context) error {
		if linked, err := x.hasLink(ctx, repository, subject, manifest); err != nil || !linked {
			return err
		}
		if there, err := x.HasRevision(ctx, repository, manifest); err != nil || there {
			return err
		}
		return x.withdraw(ctx, repository, subject, manifest)
	})
	if err != nil {
		x.options.Observer.Failed(repository, err)
	}
	return nil
}

// remove removes one link. That it is not there is no error.
func (x *Index) remove(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	var err error
	for range attempts { // a file may be made in the folder while it is emptied
		err = x.driver.Delete(ctx, layout.Referrer(repository, subject, referrer))
		if err == nil || layout.IsNotFound(err) {
			return nil
		}
		// Not every driver says in the same way that something is not there.
		_, statErr := x.driver.Stat(ctx, layout.Referrer(repository, subject, referrer))
		if layout.IsNotFound(statErr) {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("removing the link from %s to %s in %s: %w", referrer, subject, repository, err)
}

// withdraw removes the link of a manifest that is not in the repository. If the
// manifest is pushed meanwhile, it gets its link back.
func (x *Index) withdraw(ctx context.Context, repository string, subject, referrer digest.Digest) error {
	if err := x.remove(ctx, repository, subject, referrer); err != nil {
		return err
	}
	there, err := x.HasRevision(ctx, repository, referrer)
	if err != nil || !there {
		return err
	}
	_, err = x.restore(ctx, repository, subject, referrer)
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

// reinstate puts back the link of a manifest that could not be deleted. Where
// that fails as well, the repository is no longer ready: getting it ready again
// finds the manifest, and the next listing of its subject links it.
func (x *Index) reinstate(ctx context.Context, repository string, subject, manifest digest.Digest) {
	err := despite(ctx, func(ctx context.Context) error {
		there, err := x.HasRevision(ctx, repository, manifest)
		if err != nil || !there {
			return err
		}
		_, err = x.restore(ctx, repository, subject, manifest)
		return err
	})
	if err != nil {
		x.ready.forget(repository)
		x.options.Observer.Failed(repository, err)
	}
}

// HasRevision reports whether a manifest is in the repository, whatever a
// descriptor cache says. It costs one storage operation.
func (x *Index) HasRevision(ctx context.Context, repository string, manifest digest.Digest) (bool, error) {
	return x.reader.Holds(ctx, layout.RevisionLink(repository, manifest), manifest)
}

// hasLink reports whether the referrer is linked to the subject.
func (x *Index) hasLink(ctx context.Context, repository string, subject, referrer digest.Digest) (bool, error) {
	return x.reader.Holds(ctx, layout.ReferrerLink(repository, subject, referrer), referrer)
}
