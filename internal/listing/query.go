package listing

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/referrers"
)

// The names in the query of a listing.
const (
	queryLimit = "n"
	queryType  = "artifactType"
	queryToken = "nextToken"
)

// maxLimit is the most entries that a page has if n asks for more.
const maxLimit = 10_000

// maxQuery is the length of the longest query that is answered, in bytes.
const maxQuery = 8 << 10

// checkLength refuses a query that is too long, before anything is made of it.
func checkLength(query string) error {
	if len(query) <= maxQuery {
		return nil
	}
	return StatusError{
		Status: http.StatusRequestURITooLong,
		Cause: errcode.ErrorCodeUnsupported.WithMessage("the query is too long").WithDetail(map[string]int{
			"length": len(query), "maximum": maxQuery,
		}),
	}
}

// Position is a place in the order of a listing. Smaller ones come first.
type Position struct {
	seconds int64
	nanos   int32
}

// OldestFirst is the position of a time, the earlier the smaller.
func OldestFirst(t time.Time) Position { return Position{t.Unix(), int32(t.Nanosecond())} }

// NewestFirst is the position of a time, the later the smaller.
func NewestFirst(t time.Time) Position { return Position{-t.Unix(), -int32(t.Nanosecond())} }

// Undated is behind the position of every time.
func Undated() Position { return Position{math.MaxInt64, 0} }

// placed is a referrer at its place; ties are told apart by digest.
type placed struct {
	Position
	*referrers.Referrer
}

func (p placed) compare(q placed) int {
	return cmp.Or(cmp.Compare(p.seconds, q.seconds), cmp.Compare(p.nanos, q.nanos), cmp.Compare(p.Digest, q.Digest))
}

// query is what a request asks of a listing.
type query struct {
	limit         int      // -1: as many as fit
	artifactTypes []string // any of them; all, if there are none
	after         *placed  // nil: from the start
	kept          []string // parameters that say what is listed, encoded
	key           string   // tells queries apart

	view, repository string // of the listing
	subject          digest.Digest
}

// parseQuery reads the query of a request for the listing of a subject in a repository.
func (v *View) parseQuery(raw, repository string, subject digest.Digest) (query, error) {
	q := query{limit: -1, view: v.Name, repository: repository, subject: subject}
	if raw == "" {
		return q, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, invalid("query", raw, "cannot be decoded")
	}
	for _, name := range v.Kept {
		q.kept = append(q.kept, name+"="+escape(values.Get(name)))
	}
	if values.Has(queryLimit) {
		if q.limit, err = parseLimit(values.Get(queryLimit)); err != nil {
			return q, err
		}
	}
	for _, t := range values[queryType] {
		if t != "" && !slices.Contains(q.artifactTypes, t) {
			q.artifactTypes = append(q.artifactTypes, t)
		}
	}
	if values.Has(queryToken) {
		token := values.Get(queryToken)
		if q.after = q.decodeToken(token); q.after == nil {
			return q, invalid(queryToken, token, "is not a token of this listing")
		}
	}
	q.key = q.link(values.Get(queryToken))
	return q, nil
}

func parseLimit(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	tooLarge := err != nil && text != "" && strings.Trim(text, "0123456789") == ""
	switch {
	case tooLarge:
		return maxLimit, nil
	case err != nil || n == 0 || text[0] == '+':
		return 0, invalid(queryLimit, text, "must be a whole number greater than 0")
	}
	return int(min(n, maxLimit)), nil
}

func invalid(name, value, reason string) error {
	const most = 256
	return errcode.ErrorCodePaginationNumberInvalid.WithDetail(map[string]string{
		"parameter": name, "value": value[:min(len(value), most)], "reason": reason,
	})
}

func (q query) accepts(artifactType string) bool {
	return len(q.artifactTypes) == 0 || slices.Contains(q.artifactTypes, artifactType)
}

// link is the query of the page that begins at token.
func (q query) link(token string) string {
	parts := slices.Clone(q.kept)
	for _, t := range q.artifactTypes {
		parts = append(parts, queryType+"="+escape(t))
	}
	if q.limit > 0 {
		parts = append(parts, queryLimit+"="+strconv.Itoa(q.limit))
	}
	return strings.Join(append(parts, queryToken+"="+escape(token)), "&")
}

// escape percent-encodes everything that is not a letter, digit, or one of -_.~
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// A token is the position of the last entry of a page. It holds what tells the listing from
// others, the two numbers of the position, and the digest.
func (q query) encodeToken(p placed) string {
	b := append(make([]byte, 0, 128), q.mark()...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.seconds))
	b = binary.BigEndian.AppendUint32(b, uint32(p.nanos))
	b = append(b, p.Digest...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeToken is nil for what is no token of the listing.
func (q query) decodeToken(token string) *placed {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil
	}
	rest, ok := strings.CutPrefix(string(b), q.mark())
	if !ok || len(rest) <= 12 {
		return nil
	}
	d, err := referrers.ParseDigest(rest[12:])
	if err != nil {
		return nil
	}
	p := &placed{Referrer: &referrers.Referrer{Digest: d}}
	p.seconds = int64(binary.BigEndian.Uint64([]byte(rest[:8])))
	p.nanos = int32(binary.BigEndian.Uint32([]byte(rest[8:12])))
	return p
}

// mark tells the listing, with its filters, from others.
func (q query) mark() string {
	const size = 8
	types := slices.Sorted(slices.Values(q.artifactTypes))
	hash := sha256.Sum256([]byte(strings.Join(append([]string{q.view, q.repository, q.subject.String()}, types...), "\x00")))
	return string(hash[:size])
}
