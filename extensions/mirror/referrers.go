package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/schema2"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/extensions"
)

// lister answers who refers to a subject of a mirrored repository: what its origin lists,
// and what has been attached to it here. It is all of that, or an error.
type lister struct {
	extensions.Lister
	extension *Extension
	store     *store
}

// listed is what an origin says about the referrers of a subject.
type listed struct {
	Listed []digest.Digest `json:"listed"` // sorted
	// Gone was listed before. It is still here, where nothing removes it before a garbage
	// collection does.
	Gone []digest.Digest `json:"gone,omitempty"`
	// Unrelated is listed, and does not name the subject, or is of a type that is not listed
	// here.
	Unrelated []digest.Digest `json:"unrelated,omitempty"`
	// ETag is what the next list can be asked for with.
	ETag string `json:"etag,omitempty"`
	// API says that the origin has this API. It cannot go without a word.
	API bool `json:"api,omitempty"`
}

// missing is what was listed, and is not in a set.
func (l listed) missing(set *extensions.ReferrerSet) (missing []digest.Digest) {
	there := digestsOf(set)
	for _, d := range l.Listed {
		if !there[d] && !slices.Contains(l.Unrelated, d) {
			missing = append(missing, d)
		}
	}
	return missing
}

// others is what is here and was not listed: all that a pull-through cache has comes from its
// origin, so it is gone there.
func (l listed) others(set *extensions.ReferrerSet) (others []digest.Digest) {
	for _, referrer := range set.Referrers {
		if _, listed := slices.BinarySearch(l.Listed, referrer.Digest); !listed {
			others = append(others, referrer.Digest)
		}
	}
	return others
}

// emptyTTL is how much sooner than others an empty list is asked for again: who signs an
// image lists its signatures soon.
const emptyTTL = 3

// Referrers implements extensions.Lister.
func (l *lister) Referrers(ctx context.Context, name string, subject digest.Digest) (*extensions.ReferrerSet, error) {
	o := l.extension.origin(name)
	if o == nil {
		return l.Lister.Referrers(ctx, name, subject)
	}
	r, err := l.repository(ctx, o)
	if err != nil {
		return nil, err
	}
	q := question[listed]{
		store:  l.store,
		origin: o,
		key:    fmt.Sprintf("referrers/%s/%s", subject.Algorithm(), subject.Encoded()),
		ttl: func(said listed) time.Duration {
			if len(said.Listed) == 0 {
				return o.ttl / emptyTTL
			}
			return o.ttl
		},
		ask: func(ctx context.Context, last listed) (listed, error) { return l.ask(ctx, r, subject, last) },
		recorded: func(ctx context.Context, said listed) (bool, error) {
			if len(said.Listed)+len(said.Gone) > 0 {
				return true, nil
			}
			return r.isHere(ctx, subject)
		},
	}
	said, err := q.answer(ctx)
	if isAbsent(err) {
		return nil, o.unknownRepository()
	}
	if err != nil {
		return nil, r.failure(ctx, err)
	}
	set, err := l.Lister.Referrers(ctx, name, subject)
	if err == nil && len(said.missing(set)) > 0 {
		set, err = l.again(ctx, r, subject, said)
	}
	if err != nil {
		return nil, err
	}
	if l.extension.whole != nil {
		return set.Without(said.others(set)), nil
	}
	return set.Without(said.Gone), nil
}

// again gets what was listed and has been collected or deleted here since.
func (l *lister) again(ctx context.Context, r *repository, subject digest.Digest, said listed) (*extensions.ReferrerSet, error) {
	name := "again " + r.origin.repository + "@" + subject.String()
	_, err := shared(ctx, l.store, r.origin, name, func(ctx context.Context) ([]digest.Digest, error) {
		return l.get(ctx, r, subject, said.Listed)
	})
	if err != nil {
		return nil, r.failure(ctx, err)
	}
	set, err := l.Lister.Referrers(ctx, r.origin.repository, subject)
	if err != nil {
		return nil, err
	}
	if missing := said.missing(set); len(missing) > 0 {
		return nil, r.origin.failure(fmt.Errorf("the referrer %s does not stay here", missing[0]))
	}
	return set, nil
}

func (l *lister) repository(ctx context.Context, o *origin) (*repository, error) {
	named, err := reference.WithName(o.repository)
	if err != nil {
		return nil, err
	}
	local, err := l.store.Namespace.Repository(ctx, named)
	if err != nil {
		return nil, err
	}
	return &repository{Repository: local, origin: o, store: l.store}, nil
}

// ask asks the origin who refers to a subject, and gets those that are not here.
func (l *lister) ask(ctx context.Context, r *repository, subject digest.Digest, known listed) (said listed, err error) {
	list, pages, err := r.origin.referrers(ctx, subject, known)
	if err != nil {
		return said, err
	}
	if !pages.answered && !pages.tagged {
		if err := r.confirm(ctx, subject); err != nil {
			return said, err
		}
		if known.API || r.origin.listed.Load() {
			return said, errors.New("it no longer says who refers to a subject")
		}
	}
	slices.Sort(list)
	said = listed{Listed: slices.Compact(list), ETag: pages.validator(), API: pages.answered}
	if said.Unrelated, err = l.get(ctx, r, subject, said.Listed); err != nil {
		return said, err
	}
	for _, d := range slices.Concat(known.Listed, known.Gone) {
		if !slices.Contains(said.Listed, d) && !slices.Contains(said.Gone, d) {
			said.Gone = append(said.Gone, d)
		}
	}
	return said, nil
}

// confirm fails unless the origin has a subject about whose referrers it has said nothing: an
// origin that answers 404 to everything would otherwise make an image unsigned.
func (r *repository) confirm(ctx context.Context, subject digest.Digest) error {
	_, err := r.origin.resolve(ctx, subject.String(), "")
	if !isAbsent(err) {
		return err
	}
	isHere, err := r.isHere(ctx, subject)
	switch {
	case err != nil:
		return err
	case isHere:
		return errors.New("it no longer has the subject")
	}
	return fmt.Errorf("%w: the subject %s", errAbsent, subject)
}

// getting is how many manifests are got at once for one list.
const getting = 8

// get gets and stores the referrers that are not here. They are listed then, except for those
// that it returns: they do not name the subject, or nothing of their type is listed.
func (l *lister) get(ctx context.Context, r *repository, subject digest.Digest, list []digest.Digest) (unrelated []digest.Digest, err error) {
	there, err := l.there(ctx, r, subject)
	if err != nil {
		return nil, err
	}
	related := make([]bool, len(list))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(getting)
	for i, d := range list {
		if there[d] {
			related[i] = true
			continue
		}
		group.Go(func() error {
			return guarded(func() (err error) {
				related[i], err = r.getReferrer(groupCtx, d, subject)
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if there, err = l.there(ctx, r, subject); err != nil {
		return nil, err
	}
	for i, d := range list {
		switch {
		case there[d]:
		case related[i]:
			return nil, here(fmt.Errorf("the referrer %s of %s has been stored, and is not listed", d, subject))
		default:
			unrelated = append(unrelated, d)
		}
	}
	return unrelated, nil
}

// getReferrer gets a manifest that the origin lists, and stores it. It reports whether it is to
// be listed here.
func (r *repository) getReferrer(ctx context.Context, d, subject digest.Digest) (related bool, err error) {
	m, err := r.fetch(ctx, d)
	if isAbsent(err) {
		err = fmt.Errorf("it lists manifest %s, and does not have it", d)
	}
	if err != nil {
		return false, err
	}
	return r.isListed(d, m, subject), r.store.storing(ctx, r.origin.answering, func(ctx context.Context) error { return r.put(ctx, d, m) })
}

// isListed reports whether a manifest that the origin lists is one to list here.
func (r *repository) isListed(d digest.Digest, m distribution.Manifest, subject digest.Digest) bool {
	mediaType, _, err := m.Payload()
	switch {
	case err == nil && r.store.Unlisted(mediaType):
		return false
	case !refersTo(m, subject):
		logrus.WithFields(logrus.Fields{"vars.name": r.origin.repository, "upstream": r.origin.name}).
			Warnf("mirror: the origin lists %s as a referrer of %s, which it does not name", d, subject)
		return false
	}
	return true
}

// refersTo reports whether a manifest names a subject. Docker's have none.
func refersTo(m distribution.Manifest, subject digest.Digest) bool {
	mediaType, content, err := m.Payload()
	var named struct {
		Subject struct {
			Digest digest.Digest `json:"digest"`
		} `json:"subject"`
	}
	return err == nil && mediaType != schema2.MediaTypeManifest && mediaType != manifestlist.MediaTypeManifestList &&
		json.Unmarshal(content, &named) == nil && named.Subject.Digest == subject
}

// there is the referrers of a subject that are here.
func (l *lister) there(ctx context.Context, r *repository, subject digest.Digest) (map[digest.Digest]bool, error) {
	set, err := l.Lister.Referrers(ctx, r.origin.repository, subject)
	if err != nil {
		return nil, here(err)
	}
	return digestsOf(set), nil
}

func digestsOf(set *extensions.ReferrerSet) map[digest.Digest]bool {
	digests := make(map[digest.Digest]bool, len(set.Referrers))
	for _, referrer := range set.Referrers {
		digests[referrer.Digest] = true
	}
	return digests
}
