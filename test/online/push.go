package online

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// said is what was promised about a digest.
type said struct {
	digest digest.Digest
	promise
	with bool // everything that it needs, too
}

// attempts is how often a push begins again, because what was there is gone.
const attempts = 20

// put pushes an image and all that it needs, and then the manifest under a tag, or by its
// digest. What is there it does not upload. The answer is a promise.
func (c *client) put(ctx context.Context, i *image, tag string) (promise, error) {
	for n := range attempts {
		p, done, err := c.tryPut(ctx, i, tag, n == 0)
		if err != nil || done {
			return p, err
		}
	}
	return promise{}, fmt.Errorf("%d times in turn, what was there was gone when %s was pushed", attempts, i.manifest.Digest())
}

func (c *client) tryPut(ctx context.Context, i *image, tag string, trusting bool) (p promise, done bool, err error) {
	promises, err := c.prepare(ctx, i, trusting)
	if err != nil {
		return p, false, err
	}
	if rand.IntN(3) == 0 { // a slow client: collections begin and end meanwhile
		if err := pause(ctx, rand.N(5*c.Pace)); err != nil {
			return p, false, err
		}
	}
	a, err := c.ask(ctx, nil, putManifest(i, tag))
	if err != nil || a.Status == http.StatusCreated {
		return a.promise, true, err
	}
	return p, false, c.excuse(a, promises)
}

// prepare makes sure that all is there that an image needs. A client that finds the
// manifest does not ask for that.
func (c *client) prepare(ctx context.Context, i *image, trusting bool) (promises []said, err error) {
	d := i.manifest.Digest()
	if trusting {
		head := get(i.repository, d.String())
		head.Method = http.MethodHead
		a, err := c.ask(ctx, nil, head)
		if err != nil || c.found(a) {
			return []said{{d, a.promise, true}}, err
		}
	}
	for _, child := range i.children {
		p, err := c.put(ctx, child, "")
		if err != nil {
			return nil, err
		}
		promises = append(promises, said{child.manifest.Digest(), p, false})
	}
	for _, b := range i.blobs {
		p, err := c.need(ctx, i.repository, b, trusting)
		if err != nil {
			return nil, err
		}
		promises = append(promises, said{b.desc.Digest, p, false})
	}
	return promises, nil
}

// excuse is nil if a manifest was refused because something is gone, and nobody has to keep
// the promise that it is there.
func (c *client) excuse(refused answer, promises []said) error {
	if refused.Status != http.StatusBadRequest && refused.Status != http.StatusNotFound {
		return refused.Err()
	}
	excused := false
	for _, p := range promises {
		switch {
		case !p.with && !strings.Contains(string(refused.Body), string(p.digest)):
		case p.holds():
			return fmt.Errorf("a registry has said that %s is there, and was left alone since: %w", p.digest, refused.Err())
		default:
			excused = true
		}
	}
	if !excused {
		return fmt.Errorf("nothing is missing: %w", refused.Err())
	}
	c.tally.count(func(t *counts) { t.excused++ })
	return nil
}

func putManifest(i *image, tag string) harness.Request {
	reference := i.manifest.Digest().String()
	switch {
	case tag != "" && i.manifest.Digest().Algorithm() == digest.Canonical:
		reference = tag
	case tag != "":
		reference += "?tag=" + tag
	}
	return harness.Request{
		Method: http.MethodPut, Path: harness.ManifestPath(i.repository, reference), Body: i.manifest.Bytes(),
		Header: harness.Header("Content-Type: " + i.manifest.ContentType),
	}
}

func get(repository, reference string) harness.Request {
	return harness.Request{Method: http.MethodGet, Path: harness.ManifestPath(repository, reference), Header: harness.Header(harness.AcceptAll)}
}

// found counts the answer to HEAD.
func (c *client) found(a answer) bool {
	there := a.Status == http.StatusOK
	c.tally.count(func(t *counts) {
		if there {
			t.promised++
		} else {
			t.missing++
		}
	})
	return there
}

// need makes sure that a blob is in a repository: it asks for it first if it is trusting,
// or mounts or uploads it. The answer is a promise.
func (c *client) need(ctx context.Context, repository string, b *blob, trusting bool) (promise, error) {
	defer c.gather.touch(repository, b)
	if trusting && rand.IntN(4) > 0 {
		a, err := c.ask(ctx, nil, harness.Request{Method: http.MethodHead, Path: harness.BlobPath(repository, b.desc.Digest)})
		if err != nil || c.found(a) {
			return a.promise, err
		}
	}
	for n := 0; ; n++ {
		a, err := c.upload(ctx, repository, b, c.gather.elsewhere(repository, b))
		switch {
		case err != nil || a.Status == http.StatusCreated:
			return a.promise, err
		case n == attempts:
			return a.promise, a.Err()
		}
		// The upload was cut off: it begins again.
	}
}

// upload mounts a blob if there is another repository that may have it, and uploads it
// otherwise, with one request or two.
func (c *client) upload(ctx context.Context, repository string, b *blob, from string) (answer, error) {
	query, body := url.Values{}, []byte(nil)
	switch {
	case from != "":
		query = url.Values{"mount": {b.desc.Digest.String()}, "from": {from}}
	case rand.IntN(2) == 0:
		query, body = url.Values{"digest": {b.desc.Digest.String()}}, b.data
	}
	a, err := c.ask(ctx, nil, harness.Request{
		Method: http.MethodPost, Path: "/v2/" + repository + "/blobs/uploads/?" + query.Encode(), Body: body,
		Header: harness.Header("Content-Type: application/octet-stream"),
	})
	if err != nil || a.Status == http.StatusCreated {
		c.tally.count(func(t *counts) {
			if from != "" {
				t.mounted++
			} else {
				t.uploaded++
			}
		})
		return a, err
	}
	if a.Status != http.StatusAccepted {
		return a, a.Err()
	}
	location, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		return a, err
	}
	values := location.Query()
	values.Set("digest", b.desc.Digest.String())
	finished, err := c.ask(ctx, nil, harness.Request{
		Method: http.MethodPut, Path: location.Path + "?" + values.Encode(), Body: b.data,
		Header: harness.Header("Content-Type: application/octet-stream"),
	})
	if err != nil {
		return finished, err
	}
	c.tally.count(func(t *counts) { t.uploaded++ })
	// A request that is sent again may find the upload committed, its bytes already there, or
	// on S3 one that the driver cannot go on with. The upload is begun anew then.
	begun := (finished.again || c.Cut) && slices.Contains([]int{
		http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable, http.StatusInternalServerError,
	}, finished.Status)
	if finished.Status != http.StatusCreated && !begun {
		err = finished.Err()
	}
	return finished, err
}

// putReferrer pushes a referrer, whose subject may be garbage.
func (c *client) putReferrer(ctx context.Context, r *image) (answer, error) {
	r.subject.past = append(r.subject.past, r)
	for range attempts {
		promises, err := c.prepare(ctx, r, true)
		if err != nil {
			return answer{}, err
		}
		if r.manifest.ContentType == harness.MediaTypeORASArtifact { // whose subject has to be there
			p, err := c.put(ctx, r.subject, "")
			if err != nil {
				return answer{}, err
			}
			promises = append(promises, said{r.subject.manifest.Digest(), p, false})
		}
		a, err := c.ask(ctx, nil, putManifest(r, ""))
		if err != nil {
			return a, err
		}
		if a.Status == http.StatusCreated {
			c.tally.count(func(t *counts) { t.pushes, t.referrers = t.pushes+1, t.referrers+1 })
			return a, nil
		}
		if err := c.excuse(a, promises); err != nil {
			return a, err
		}
	}
	return answer{}, fmt.Errorf("%d times in turn, what was there was gone when referrer %s was pushed", attempts, r.manifest.Digest())
}
