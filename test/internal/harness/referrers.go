package harness

import (
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
)

// Route is one of the routes that list the referrers of a subject.
type Route struct {
	// Name is for the names of subtests.
	Name string
	// Path is the path of the listing.
	Path func(repository string, subject digest.Digest) string
	// ContentType is the exact Content-Type of its answers.
	ContentType string
	// Member is the name of the list in the body.
	Member string
}

// The routes that list referrers.
var (
	Draft1 = Route{"draft1", draft1Path, "application/json", "references"}
	RC     = Route{"rc", rcPath, "application/json", "referrers"}
	OCI    = Route{"oci", ociPath, MediaTypeOCIIndex, "manifests"}
)

// Routes are all routes that list referrers.
func Routes() []Route { return []Route{Draft1, RC, OCI} }

func draft1Path(repository string, subject digest.Digest) string {
	return "/oras/artifacts/v1/" + repository + "/manifests/" + subject.String() + "/referrers"
}

func rcPath(repository string, subject digest.Digest) string {
	return "/v2/" + repository + "/_oras/artifacts/referrers?digest=" + subject.String()
}

func ociPath(repository string, subject digest.Digest) string {
	return "/v2/" + repository + "/referrers/" + subject.String()
}

// With is the path of a listing with query parameters, given as name and value
// in turn.
func (r Route) With(repository string, subject digest.Digest, query ...string) string {
	path, err := url.Parse(r.Path(repository, subject))
	if err != nil {
		panic(err)
	}
	values := path.Query()
	for i := 0; i+1 < len(query); i += 2 {
		values.Add(query[i], query[i+1])
	}
	path.RawQuery = values.Encode()
	return path.String()
}

// Entries are the descriptors in the body of a listing.
func (r Route) Entries(resp *Response) []Descriptor {
	resp.t.Helper()
	var draft struct {
		References, Referrers, Manifests []Descriptor
	}
	resp.Expect(http.StatusOK).JSON(&draft)
	return append(append(draft.References, draft.Referrers...), draft.Manifests...)
}

// Page is one page of a listing.
type Page struct {
	*Response
	Entries []Descriptor
}

// Page gets one page, at a path that With or Next gave.
func (c *Client) Page(route Route, path string) Page {
	c.t.Helper()
	resp := c.Get(path)
	return Page{resp, route.Entries(resp)}
}

// Walk gets all pages, from the path that With gave. If between is not nil, it is called
// before each page except the first, with the number of the page.
func (c *Client) Walk(route Route, path string, between func(page int)) []Page {
	c.t.Helper()
	origin := originOf(c.URL)
	pages := []Page{c.Page(route, path)}
	for next := pages[0].Next(); next != ""; next = pages[len(pages)-1].Next() {
		if between != nil {
			between(len(pages))
		}
		pages = append(pages, c.Page(route, origin+next))
		if len(pages) > 100_000 {
			c.t.Fatalf("the listing at %s does not end", path)
		}
	}
	return pages
}

// Referrers are all entries of a listing, of all its pages.
func (c *Client) Referrers(route Route, repository string, subject digest.Digest, query ...string) []Descriptor {
	c.t.Helper()
	var all []Descriptor
	for _, page := range c.Walk(route, route.With(repository, subject, query...), nil) {
		all = append(all, page.Entries...)
	}
	return all
}

// originOf is the scheme, host and port of a URL: what the URL in a Link header
// is relative to.
func originOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u.Scheme + "://" + u.Host
}

// Digests are the digests of descriptors, in their order.
func Digests(list []Descriptor) []digest.Digest {
	digests := make([]digest.Digest, len(list))
	for i, d := range list {
		digests[i] = d.Digest
	}
	return digests
}
