package mirror

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// strictClient refuses answers that a client may take for what they are not: a page for people
// for content, or for its absence; and about referrers, all that may look like an empty or
// short list. Only a registry that does not have this API may be asked for its tags instead.
type strictClient struct{ remote.Client }

// Do implements remote.Client.
func (c strictClient) Do(r *http.Request) (*http.Response, error) {
	if tag, ok := r.Context().Value(matchKey{}).(string); ok {
		r.Header.Set("If-None-Match", tag)
	}
	check := checkPage
	if pages, ok := r.Context().Value(pagesKey{}).(*pages); ok {
		if check = pages.add; path.Base(path.Dir(r.URL.Path)) == "manifests" {
			check = pages.addTag
		} else if pages.count == 0 && pages.etag != "" {
			r.Header.Set("If-None-Match", pages.etag)
		}
	} else if strings.HasSuffix(r.URL.Path, "/tags/list") {
		check = checkTags
	}
	resp, err := c.Client.Do(r)
	if err != nil {
		return nil, ofTokenService(err)
	}
	if resp.StatusCode == http.StatusNotModified && r.Header.Get("If-None-Match") == "" {
		err = errors.New("it answers that nothing has changed, without knowing what is known")
	} else {
		err = check(resp)
	}
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// ofTokenService says that an answer was not the origin's: that something is not there, for
// example. Only a refusal counts as one of the origin.
func ofTokenService(err error) error {
	if status := statusOf(err); status != 0 && !isDenied(err) {
		return fmt.Errorf("the token service has answered %d %s", status, http.StatusText(status))
	}
	return err
}

// checkPage refuses a page for people: it comes from something in front of the registry.
func checkPage(resp *http.Response) error {
	ofRegistry := resp.Header.Get("Docker-Content-Digest") != ""
	if (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotFound) && typeOf(resp) == "text/html" && !ofRegistry {
		return fmt.Errorf("the answer is an HTML page, with status %d", resp.StatusCode)
	}
	return nil
}

func typeOf(resp *http.Response) string {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return mediaType
}

// pages is what is known of a list of referrers while it is asked for.
type pages struct {
	etag     string // of what is known
	count    int
	answered bool   // there is this API
	tagged   bool   // there is a tag with a list
	newTag   string // of the first page
}

type pagesKey struct{}

func countPages(ctx context.Context, etag string) (context.Context, *pages) {
	p := &pages{etag: etag}
	return context.WithValue(ctx, pagesKey{}, p), p
}

// addTag checks what the tag is that stands for the list of a registry without this API.
func (p *pages) addTag(resp *http.Response) error {
	mediaType := typeOf(resp)
	if resp.StatusCode == http.StatusOK && !slices.Contains(mediaTypes(), mediaType) {
		return fmt.Errorf("the tag with the list of referrers is %q, and no manifest", mediaType)
	}
	p.tagged = resp.StatusCode == http.StatusOK && mediaType == v1.MediaTypeImageIndex
	if p.tagged && resp.Request.Method != http.MethodHead {
		return checkBody(resp, checkIndex)
	}
	return checkPage(resp)
}

// add checks one answer of this API.
func (p *pages) add(resp *http.Response) error {
	p.count++
	switch resp.StatusCode {
	case http.StatusOK:
		mediaType := typeOf(resp)
		if mediaType != v1.MediaTypeImageIndex {
			return fmt.Errorf("the list of referrers is %q, not %s", mediaType, v1.MediaTypeImageIndex)
		}
		resp.Header.Set("Content-Type", mediaType)
		p.answered = true
		if p.count == 1 {
			p.newTag = resp.Header.Get("ETag")
		}
		return checkBody(resp, checkIndex)
	case http.StatusNotModified:
		p.answered, p.newTag = true, p.etag
	case http.StatusNotFound:
		if p.count > 1 {
			return fmt.Errorf("page %d of the list of referrers is not there", p.count)
		}
		// That there is no such repository may be the word of something in front of the
		// registry. Without it, the tag is asked for, and then the subject.
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	}
	return nil
}

// validator is what the next list can be asked for with: that of a list of one page.
func (p *pages) validator() string {
	if p.count != 1 || strings.HasPrefix(p.newTag, "W/") {
		return ""
	}
	return p.newTag
}

type matchKey struct{}

// ifNoneMatch returns a context whose requests are conditional.
func ifNoneMatch(ctx context.Context, tag string) context.Context {
	return context.WithValue(ctx, matchKey{}, tag)
}

// isNotModified reports whether an origin has answered that nothing has changed.
func isNotModified(err error) bool {
	var answer *errcode.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotModified
}
