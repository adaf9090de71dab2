package blackbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// maxPage is the limit for the body of a page, in bytes.
const maxPage = 4_000_000

// attach pushes artifacts to a subject, every third of them with a time, and
// returns their digests.
func attach(c *harness.Client, repository string, subject harness.Descriptor, artifactType string, count int) map[digest.Digest]bool {
	pushed := map[digest.Digest]bool{}
	for i := range count {
		m := harness.ORASArtifact(artifactType).To(subject).Annotated("number", fmt.Sprint(i))
		if i%3 == 0 {
			m = m.Annotated(harness.ORASCreated, fmt.Sprintf("2022-01-%02dT00:00:00Z", 1+i%28))
		}
		c.MustPush(repository, "", m)
		pushed[m.Digest()] = true
	}
	return pushed
}

func TestPages(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("deep/er/app", "v1", "layer")
		pushed := attach(c, "deep/er/app", image, "a/b+json", 7)
		attach(c, "deep/er/app", image, "other/type", 3)
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			for _, n := range []int{1, 2, 3, 6, 7, 8, 100} {
				path := route.With("deep/er/app", image.Digest, "n", fmt.Sprint(n), "artifactType", "a/b+json")
				pages := c.Walk(route, path, nil)
				if want := (len(pushed) + n - 1) / n; len(pages) != want {
					t.Errorf("n=%d: %d pages, want %d", n, len(pages), want)
				}
				whole := texts(c.Referrers(route, "deep/er/app", image.Digest, "artifactType", "a/b+json"))
				var walked []string
				for i, page := range pages {
					expectListingHeaders(t, page.Response, route)
					walked = append(walked, texts(page.Entries)...)
					if i < len(pages)-1 {
						expectLink(t, page, route, n)
					}
				}
				equal(t, fmt.Sprintf("n=%d", n), walked, whole)
			}
		})
	})
}

// expectLink expects a link that repeats the query of the request, percent-encoded.
func expectLink(t *testing.T, page harness.Page, route harness.Route, n int) {
	t.Helper()
	if len(page.Entries) != n {
		t.Errorf("a page with a next page has %d entries, not %d", len(page.Entries), n)
	}
	path, query, _ := strings.Cut(page.Next(), "?")
	asked, _, _ := strings.Cut(page.Request.Path, "?")
	if !strings.HasSuffix(asked, path) {
		t.Errorf("the next page of %s is at %s", asked, path)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if values.Get("n") != fmt.Sprint(n) || values.Get("artifactType") != "a/b+json" || values.Get("nextToken") == "" {
		t.Errorf("the link %q does not repeat n=%d and the filter", page.Next(), n)
	}
	if strings.ContainsAny(query, "+/ \"<>") || !strings.Contains(query, "artifactType=a%2Fb%2Bjson") {
		t.Errorf("the link %q is not percent-encoded", query)
	}
	if asked, err := url.Parse(page.Request.Path); err == nil && route.Name == harness.RC.Name {
		if values.Get("digest") != asked.Query().Get("digest") {
			t.Errorf("the link %q does not repeat the digest", query)
		}
	}
}

// Whatever is pushed and deleted between two pages, each referrer that existed
// throughout is listed exactly once, and none that was gone before the walk.
func TestPagesWhileReferrersChange(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			for _, n := range []int{1, 2, 3} {
				repository := fmt.Sprintf("app/%s/%d", route.Name, n)
				image := c.PushImage(repository, "v1", "layer")
				stable := attach(c, repository, image, "stable/type", 9)
				leaving := attach(c, repository, image, "leaving/type", 9)
				gone := attach(c, repository, image, "gone/type", 2)
				for d := range gone {
					c.DeleteManifest(repository, d)
				}
				seen := map[digest.Digest]int{}
				pages := c.Walk(route, route.With(repository, image.Digest, "n", fmt.Sprint(n)), func(page int) {
					if page > 15 {
						return // or the walk would never end
					}
					// One that is first in the order, one that is last, one that is deleted.
					at := fmt.Sprintf("20%02d-01-01T00:00:00Z", page%100)
					c.MustPush(repository, "", harness.ORASArtifact("new/type").To(image).Annotated(harness.ORASCreated, at))
					c.MustPush(repository, "", harness.ORASArtifact("new/type").To(image).Annotated("page", fmt.Sprint(page)))
					for d := range leaving {
						c.DeleteManifest(repository, d)
						delete(leaving, d)
						break
					}
				})
				for _, page := range pages {
					for _, entry := range page.Entries {
						if seen[entry.Digest]++; seen[entry.Digest] > 1 {
							t.Errorf("n=%d: %s is listed twice", n, entry.Digest)
						}
						if gone[entry.Digest] {
							t.Errorf("n=%d: %s is listed, but was deleted before", n, entry.Digest)
						}
					}
				}
				for d := range stable {
					if seen[d] != 1 {
						t.Errorf("n=%d: %s is listed %d times", n, d, seen[d])
					}
				}
			}
		})
	})
}

// The entry that a token names may be gone when the next page is asked for.
func TestPageAfterAnEntryThatIsGone(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			image := c.PushImage(route.Name, "v1", "layer")
			attach(c, route.Name, image, "a/b", 6)
			whole := c.Referrers(route, route.Name, image.Digest)
			first := c.Page(route, route.With(route.Name, image.Digest, "n", "2"))
			for _, entry := range whole[:3] {
				c.DeleteManifest(route.Name, entry.Digest)
			}
			second := c.Page(route, first.Next())
			equal(t, "second page", texts(second.Entries), texts(whole[3:5]))
		})
	})
}

func TestLargeListingsAreSplit(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		filling := strings.Repeat("x", 200_000)
		pushed := map[digest.Digest]bool{}
		for i := range 45 { // nine million bytes
			m := harness.ORASArtifact("a/b").To(image).Annotated("filling", filling).Annotated("number", fmt.Sprint(i))
			c.MustPush("app", "", m)
			pushed[m.Digest()] = true
		}
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			for _, query := range [][]string{nil, {"n", "40"}, {"n", "40", "artifactType", "a/b"}} {
				pages := c.Walk(route, route.With("app", image.Digest, query...), nil)
				var all []harness.Descriptor
				for i, page := range pages {
					all = append(all, page.Entries...)
					expectListingHeaders(t, page.Response, route)
					if len(page.Body) > maxPage {
						t.Errorf("a page of %d bytes", len(page.Body))
					}
					if i < len(pages)-1 && len(page.Body)+len(filling)+1000 < maxPage {
						t.Errorf("a page of %d bytes has room for one more", len(page.Body))
					}
				}
				if len(pages) != 3 {
					t.Errorf("%d pages with %q, want 3", len(pages), query)
				}
				for _, d := range all {
					if !pushed[d.Digest] || d.Annotations["filling"] != filling {
						t.Errorf("%s is not as it was pushed", d.Digest)
					}
				}
				if len(all) != len(pushed) {
					t.Errorf("%d entries, want %d", len(all), len(pushed))
				}
			}
		})
	})
}

// More referrers than fit on a page of most stores' own listings.
func TestManyReferrers(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		const count = 1100
		pushed := attach(c, "app", image, "a/b", count)
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			pages := c.Walk(route, route.Path("app", image.Digest), nil)
			if len(pages) != 1 || len(pages[0].Entries) != count {
				t.Fatalf("%d pages, the first with %d entries, want 1 with %d", len(pages), len(pages[0].Entries), count)
			}
			seen := map[digest.Digest]bool{}
			for _, page := range c.Walk(route, route.With("app", image.Digest, "n", "137"), nil) {
				for _, entry := range page.Entries {
					if !pushed[entry.Digest] || seen[entry.Digest] {
						t.Errorf("%s was not pushed, or is there twice", entry.Digest)
					}
					seen[entry.Digest] = true
				}
			}
			if len(seen) != count {
				t.Errorf("%d walked, want %d", len(seen), count)
			}
		})
	})
}

// A query may have up to 8 KiB. A page whose link to the next one would be longer is
// refused as well, because the link could not be used.
func TestListingsRefuseLongQueries(t *testing.T) {
	const most = 8 << 10
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		long := strings.Repeat("+", most/2)
		for _, n := range []string{"1", "2"} {
			c.MustPush("app", "", harness.ORASArtifact("a/b").To(image).Annotated("n", n))
		}
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			filled := func(d digest.Digest, length int) string {
				path := joined(route.Path("app", d), "artifactType=a/b&artifactType=")
				_, query, _ := strings.Cut(path, "?")
				return path + strings.Repeat("x", length-len(query))
			}
			if page := c.Page(route, filled(image.Digest, most)); len(page.Entries) != 2 {
				t.Errorf("with a query of %d bytes: %s", most, page)
			}
			for _, d := range []digest.Digest{image.Digest, digest.FromString("nowhere")} {
				for _, length := range []int{most + 1, 500_000} {
					resp := c.Get(filled(d, length)).ExpectError(http.StatusRequestURITooLong, "UNSUPPORTED")
					if e := resp.Errors()[0]; !strings.Contains(e.Message, "too long") || len(resp.Body) > 1000 {
						t.Errorf("%s", resp)
					}
				}
			}
			c.Head(filled(image.Digest, most+1)).Expect(http.StatusRequestURITooLong).ExpectBody(nil)
			c.Get(joined(route.Path("app", image.Digest), "artifactType=a/b&n=1&artifactType="+long)).
				ExpectError(http.StatusRequestURITooLong, "UNSUPPORTED")
		})
	})
}
