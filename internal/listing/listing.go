// Package listing answers lists of referrers over HTTP: filters, pages, links
// to the next page and entity tags, which the ORAS routes and the OCI route have
// in common. What differs between them is a View.
package listing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/referrers"
)

// MaxBytes is the size that a page's body does not exceed: containerd and
// oras-go refuse bodies of more than about 4 MiB, and several clients read only
// the first page.
const MaxBytes = 4_000_000

// Lister answers who refers to a subject. See referrers.Index.Referrers.
type Lister interface {
	Referrers(ctx context.Context, repository string, subject digest.Digest) (*referrers.Set, error)
}

// View is how one API shows a set of referrers.
type View struct {
	// Name tells views apart; it must not be empty.
	Name string
	// ContentType is the type of the body, which is Head, the entries with commas,
	// and Tail.
	ContentType, Head, Tail string
	// Includes reports whether the API lists the referrer at all.
	Includes func(*referrers.Referrer) bool
	// Position is the referrer's place in the order.
	Position func(*referrers.Referrer) Position
	// Append appends the referrer's JSON. Nil appends a descriptor.
	Append func([]byte, *referrers.Referrer) []byte
	// Kept names the query parameters that the route itself reads: the links to
	// further pages repeat them.
	Kept []string
	// Header is set on every answer; Filtered only where a filter was applied.
	Header, Filtered http.Header
}

// Serve answers a request for the referrers of the digest in the target, which
// names the subject.
func (v *View) Serve(w http.ResponseWriter, r *http.Request, lister Lister, repository, subject string) error {
	if err := checkLength(r.URL.RawQuery); err != nil {
		return err
	}
	d, err := referrers.ParseDigest(subject)
	if err != nil {
		return errcode.ErrorCodeDigestInvalid.WithDetail(map[string]string{"digest": subject, "reason": err.Error()})
	}
	q, err := v.parseQuery(r.URL.RawQuery, repository, d)
	if err != nil {
		return err
	}
	set, err := lister.Referrers(r.Context(), repository, d)
	if err != nil {
		return err
	}
	release, err := set.Hold(r.Context(), MaxBytes)
	if err != nil {
		return err
	}
	defer release()
	p, err := v.page(r.Context(), set, q)
	if err != nil {
		return err
	}
	next := ""
	if p.next != "" {
		next = q.link(p.next)
		if err := checkLength(next); err != nil {
			return err // nobody could ask for the next page
		}
	}
	header := w.Header()
	setAll(header, v.Header)
	if len(q.artifactTypes) > 0 {
		setAll(header, v.Filtered)
	}
	header.Set("ETag", p.etag)
	if next != "" {
		header.Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.EscapedPath(), next))
	}
	if matches(r.Header.Values("If-None-Match"), p.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Type", v.ContentType)
	header.Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		send(w, p.body)
	}
	return nil
}

// How fast a client has to read a large page, in bytes a second, and how long it
// may take for that beside.
const (
	largePage  = 64 << 10
	sendSpeed  = 128 << 10
	sendStalls = 30 * time.Second
)

// send writes a body. Large ones count against the budget until they have been
// sent, so a client cannot take as long as it likes.
func send(w http.ResponseWriter, body []byte) {
	if len(body) > largePage {
		control := http.NewResponseController(w)
		deadline := time.Now().Add(sendStalls + time.Duration(len(body)/sendSpeed)*time.Second)
		if control.SetWriteDeadline(deadline) == nil {
			defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
		}
	}
	_, _ = w.Write(body) // the client is gone if it fails
}

// page is one page of a listing, kept with the set that it was made from.
type page struct {
	body []byte
	etag string
	next string // the token of the next page, empty after the last
}

func (v *View) page(ctx context.Context, set *referrers.Set, q query) (*page, error) {
	made, err := set.Memo(ctx, v.Name+"?"+q.key, func(ctx context.Context) (any, int, error) {
		list, err := v.ordered(ctx, set)
		if err != nil {
			return nil, 0, err
		}
		p, err := v.makePage(ctx, set, list, q)
		if err != nil {
			return nil, 0, err
		}
		return p, cap(p.body) + len(p.etag) + len(p.next), nil
	})
	if err != nil {
		return nil, err
	}
	return made.(*page), nil
}

// ordered is the referrers that the view includes, in its order.
func (v *View) ordered(ctx context.Context, set *referrers.Set) ([]placed, error) {
	const placedSize = 32
	made, err := set.Memo(ctx, v.Name, func(context.Context) (any, int, error) {
		list := make([]placed, 0, len(set.Referrers))
		for _, r := range set.Referrers {
			if v.Includes == nil || v.Includes(r) {
				list = append(list, placed{v.Position(r), r})
			}
		}
		slices.SortFunc(list, placed.compare)
		return list, cap(list) * placedSize, nil
	})
	if err != nil {
		return nil, err
	}
	return made.([]placed), nil
}

// makePage makes the page that a query asks for, of a list in the view's order.
func (v *View) makePage(ctx context.Context, set *referrers.Set, list []placed, q query) (*page, error) {
	p := &page{}
	body, chosen, abridged := v.fill(list, q, p)
	if abridged {
		full, err := set.Annotated(ctx, chosen)
		if err != nil {
			return nil, err
		}
		body = v.render(full)
	}
	p.body = append(body, v.Tail...)
	if cap(p.body) > len(p.body)+len(p.body)/8 {
		p.body = bytes.Clone(p.body) // without the room that it grew into
	}
	hash := sha256.New()
	hash.Write([]byte(p.next + "\n"))
	hash.Write(p.body)
	p.etag = `"` + hex.EncodeToString(hash.Sum(nil)[:16]) + `"`
	return p, nil
}

// fill chooses the referrers on a page and renders them, up to the tail. A referrer
// whose annotations have to be read first is rendered without them, and then the
// page is abridged.
func (v *View) fill(list []placed, q query, p *page) (body []byte, chosen []*referrers.Referrer, abridged bool) {
	if q.after != nil {
		i, found := slices.BinarySearchFunc(list, *q.after, placed.compare)
		if found {
			i++
		}
		list = list[i:]
	}
	most := len(list)
	if q.limit > 0 {
		most = min(most, q.limit)
	}
	body = append(make([]byte, 0, min(MaxBytes, 512*most+256)), v.Head...)
	left := MaxBytes - len(v.Tail)
	var last placed
	for _, item := range list {
		if !q.accepts(item.ArtifactType) {
			continue
		}
		length := len(body)
		if len(chosen) > 0 {
			body = append(body, ',')
		}
		body = v.append(body, item.Referrer)
		missing := 0
		if item.Abridged() {
			missing = len(annotationsMember) + item.AnnotationsSize
		}
		if len(chosen) == q.limit || len(chosen) > 0 && len(body)+missing > left {
			p.next = q.encodeToken(last)
			return body[:length], chosen, abridged
		}
		left -= missing
		abridged = abridged || item.Abridged()
		chosen = append(chosen, item.Referrer)
		last = item
	}
	return body, chosen, abridged
}

// render renders referrers that are known in full, up to the tail.
func (v *View) render(list []*referrers.Referrer) []byte {
	body := []byte(v.Head)
	for i, r := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = v.append(body, r)
	}
	return body
}

func (v *View) append(body []byte, r *referrers.Referrer) []byte {
	if v.Append != nil {
		return v.Append(body, r)
	}
	return appendDescriptor(body, r)
}

// matches reports whether one of the entity tags of If-None-Match is etag
// (RFC 9110, section 13.1.2).
func matches(values []string, etag string) bool {
	for _, value := range values {
		for _, tag := range strings.Split(value, ",") {
			if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

func setAll(header, values http.Header) {
	for name, value := range values {
		header[name] = value
	}
}
