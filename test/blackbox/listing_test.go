package blackbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// listing is the body of a listing as a client of the route decodes it.
type listing struct {
	SchemaVersion int                  `json:"schemaVersion,omitempty"`
	MediaType     string               `json:"mediaType,omitempty"`
	References    []harness.Descriptor `json:"references,omitzero"`
	Referrers     []harness.Descriptor `json:"referrers,omitzero"`
	Manifests     []harness.Descriptor `json:"manifests,omitzero"`
}

// body is the answer of a route with exactly these entries.
func body(route harness.Route, entries ...harness.Descriptor) listing {
	entries = append([]harness.Descriptor{}, entries...)
	switch route.Name {
	case harness.Draft1.Name:
		return listing{References: entries}
	case harness.RC.Name:
		return listing{Referrers: entries}
	}
	return listing{SchemaVersion: 2, MediaType: harness.MediaTypeOCIIndex, Manifests: entries}
}

// expectBody compares bodies member by member: an unknown one is an error.
func expectBody(t *testing.T, resp *harness.Response, want listing) {
	t.Helper()
	var got listing
	dec := json.NewDecoder(strings.NewReader(string(resp.Body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatalf("%v: %s", err, resp)
	}
	equal(t, resp.Request.Path, got, want)
}

func TestListingOfNothing(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		missing := harness.BlobDescriptor([]byte("never pushed"))
		sha512 := "sha512:" + strings.Repeat("ab", 64)
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			member := fmt.Sprintf("%q:[]", route.Member)
			for _, path := range []string{
				route.Path("app", image.Digest), route.Path("app", missing.Digest),
				route.Path("no/such/repository", image.Digest),
				strings.ReplaceAll(route.Path("app", image.Digest), image.Digest.String(), sha512),
				route.With("app", image.Digest, "artifactType", "any/type", "n", "1"),
			} {
				resp := c.Get(path).Expect(http.StatusOK)
				expectBody(t, resp, body(route))
				if !strings.Contains(string(resp.Body), member) {
					t.Errorf("%s does not say %s", resp, member)
				}
				resp.ExpectNoHeader("Link")
				expectListingHeaders(t, resp, route)
			}
		})
	})
}

// expectListingHeaders expects the headers that every listing has.
func expectListingHeaders(t *testing.T, resp *harness.Response, route harness.Route) {
	t.Helper()
	resp.ExpectHeader("Content-Type", route.ContentType)
	resp.ExpectHeader("Docker-Distribution-API-Version", "registry/2.0")
	resp.ExpectLength(-1)
	if route.Name == harness.RC.Name {
		resp.ExpectHeader("ORAS-Api-Version", "oras/1.0")
	} else {
		resp.ExpectNoHeader("ORAS-Api-Version")
	}
	if resp.Header.Get("ETag") == "" {
		t.Errorf("no ETag: %s", resp)
	}
}

func TestListingDescribesManifests(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		blob := c.PushBlob("app", []byte("a signature"))
		config := emptyConfig(c, "app", "application/vnd.example.config+json")
		draft := harness.ORASArtifact("draft/type", blob).To(image).Annotated(harness.ORASCreated, "2020-01-03T00:00:00Z")
		draft.MediaType = ""
		untyped := harness.OCIImage(config).To(image).Annotated(harness.OCICreated, "2020-01-06T00:00:00Z")
		untyped.MediaType = ""
		untypedIndex := harness.OCIIndex().To(image).Annotated(harness.OCICreated, "2020-01-08T00:00:00Z")
		untypedIndex.MediaType = ""
		all := []harness.Manifest{ // the oldest first
			harness.ORASArtifact("sbom/example", blob).To(image).Annotated(harness.ORASCreated, "2020-01-01T00:00:00Z").Annotated("k", "ü<&>\u2028\"\\"),
			harness.OCIArtifact("oci/artifact", blob).To(image).Annotated(harness.OCICreated, "2020-01-02T00:00:00Z"),
			draft,
			harness.OCIImage(config, blob).To(image).Annotated(harness.OCICreated, "2020-01-04T00:00:00Z"),
			harness.OCIImage(config, blob).To(image).Annotated(harness.OCICreated, "2020-01-05T00:00:00Z").Typed("own/type+json"),
			untyped,
			harness.OCIIndex(image).To(image).Annotated(harness.OCICreated, "2020-01-07T00:00:00Z").Typed("index/type"),
			untypedIndex,
			harness.OCIIndex().To(image).Annotated(harness.OCICreated, "2020-01-09T00:00:00Z"),
		}
		var everything, oras []harness.Descriptor
		for _, m := range all {
			c.MustPush("app", "", m)
			everything = append(everything, m.Listed())
			if m.ContentType == harness.MediaTypeORASArtifact {
				oras = slices.Insert(oras, 0, m.Listed())
			}
		}
		expectBody(t, c.Get(harness.OCI.Path("app", image.Digest)).Expect(http.StatusOK), body(harness.OCI, everything...))
		for _, route := range []harness.Route{harness.Draft1, harness.RC} {
			resp := c.Get(route.Path("app", image.Digest)).Expect(http.StatusOK)
			expectBody(t, resp, body(route, oras...))
			expectListingHeaders(t, resp, route)
		}
	})
}

func TestOrderOfListings(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		created := func(value string) harness.Manifest {
			return harness.ORASArtifact("a/b").To(image).Annotated(harness.ORASCreated, value)
		}
		// Compared as times, not as texts: +02:00 is earlier than it looks.
		times := []harness.Manifest{
			created("2021-05-05T13:00:00+02:00"), // 11:00
			created("2021-05-05T11:30:00Z"),
			created("2021-05-05T11:30:00.000000001Z"),
			created("2021-05-05T11:30:01Z"),
			created("2021-05-05T08:00:00-04:00"), // 12:00
		}
		same := []harness.Manifest{created("2021-06-01T00:00:00Z").Annotated("x", "1"), created("2021-06-01T00:00:00Z").Annotated("x", "2")}
		none := []harness.Manifest{harness.ORASArtifact("a/b").To(image).Annotated("x", "3"), harness.ORASArtifact("a/b").To(image).Annotated("x", "4")}
		byDigest := func(a, b harness.Manifest) int { return strings.Compare(string(a.Digest()), string(b.Digest())) }
		slices.SortFunc(same, byDigest)
		pushed := slices.Clone(none)
		slices.SortFunc(none, byDigest)

		var want []harness.Manifest
		want = append(want, same...)
		for _, m := range slices.Backward(times) {
			want = append(want, m)
		}
		want = append(want, none...)
		for _, m := range append(slices.Concat(same, times), pushed...) {
			c.MustPush("app", "", m)
		}
		for _, route := range []harness.Route{harness.Draft1, harness.RC} {
			equal(t, route.Name, texts(c.Referrers(route, "app", image.Digest)), digestsOf(want))
		}

		// OCI 1.1: the oldest first. Undated manifests have the time of their push, which
		// is later than all of these.
		want = append(slices.Concat(times, same), pushed...)
		got := texts(c.Referrers(harness.OCI, "app", image.Digest))
		if len(got) == len(want) {
			equal(t, "oci", got[:len(got)-2], digestsOf(want[:len(want)-2]))
		}
		equal(t, "oci, in any order", slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(digestsOf(want))))
	})
}

// A signature that is pushed later is listed after one that was pushed earlier, because
// some clients take the last one for the newest.
func TestOrderOfPushesWithoutTimes(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		config := emptyConfig(c, "app", "application/vnd.example.config+json")
		var want []harness.Manifest
		for i := range 12 {
			m := harness.OCIImage(config).To(image).Annotated("number", fmt.Sprint(i))
			c.MustPush("app", "", m)
			want = append(want, m)
		}
		order := texts(c.Referrers(harness.OCI, "app", image.Digest))
		if harness.SharedDriver() != harness.External { // object stores know whole seconds only
			equal(t, "order", order, digestsOf(want))
		}
		// Pushing the first again does not make it newer.
		c.MustPush("app", "again", want[0])
		equal(t, "order", texts(c.Referrers(harness.OCI, "app", image.Digest)), order)
	})
}

func TestFilters(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		types := []string{"a/b", "a/b+json", "a/B", "a", `weird "type" &=#%/ü`, "a/b; c=d"}
		for i, artifactType := range types {
			for n := range 2 {
				c.MustPush("app", "", harness.ORASArtifact(artifactType).To(image).Annotated("n", fmt.Sprint(i, n)))
			}
		}
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			for _, test := range []struct {
				filter []string
				want   int
			}{
				{[]string{"a/b"}, 2},
				{[]string{"a/b+json"}, 2},
				{[]string{types[4]}, 2},
				{[]string{types[5]}, 2},
				{[]string{"a/b", "a/b+json", "a/b"}, 4},
				{types, 12},
				{[]string{"A/B"}, 0},
				{[]string{"a/b", "nothing"}, 2},
			} {
				var query []string
				for _, filter := range test.filter {
					query = append(query, "artifactType", filter)
				}
				for _, n := range []string{"", "1"} {
					if n != "" {
						query = append(query, "n", n)
					}
					found := 0
					for _, page := range c.Walk(route, route.With("app", image.Digest, query...), nil) {
						expectFilterHeader(page.Response, route)
						for _, entry := range page.Entries {
							if found++; !slices.Contains(test.filter, entry.ArtifactType) {
								t.Errorf("filter %q lists %q", test.filter, entry.ArtifactType)
							}
						}
					}
					if found != test.want {
						t.Errorf("filter %q with n=%q lists %d, want %d", test.filter, n, found, test.want)
					}
				}
			}
			// An unencoded plus sign is a space.
			resp := c.Get(joined(route.Path("app", image.Digest), "artifactType=a/b+json"))
			if entries := route.Entries(resp); len(entries) != 0 {
				t.Errorf("a/b json lists %d", len(entries))
			}
			c.Get(route.Path("app", image.Digest)).ExpectNoHeader("OCI-Filters-Applied")
		})
	})
}

func expectFilterHeader(resp *harness.Response, route harness.Route) {
	if route.Name == harness.OCI.Name {
		resp.ExpectHeader("OCI-Filters-Applied", "artifactType")
	} else {
		resp.ExpectNoHeader("OCI-Filters-Applied")
	}
}

// joined adds to the query of a path.
func joined(path, query string) string {
	if strings.Contains(path, "?") {
		return path + "&" + query
	}
	return path + "?" + query
}

func TestEntityTags(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			app := "app/" + route.Name
			image := c.PushImage(app, "v1", "layer")
			path := route.Path(app, image.Digest)
			// The first comes first in the order of ORAS and of OCI.
			first := harness.ORASArtifact("a/b").To(image).Annotated(harness.ORASCreated, "2022-01-01T00:00:00Z")
			second := harness.ORASArtifact("a/b").To(image)
			c.MustPush(app, "", first)
			one := c.Get(path).Expect(http.StatusOK)
			tag := one.Header.Get("ETag")
			for _, value := range []string{tag, `"other", ` + tag, "W/" + tag, "*"} {
				resp := c.Get(path, "If-None-Match: "+value).Expect(http.StatusNotModified)
				resp.ExpectBody(nil).ExpectHeader("ETag", tag)
				c.Head(path, "If-None-Match: "+value).Expect(http.StatusNotModified).ExpectBody(nil)
			}
			c.Get(path, `If-None-Match: "other"`).Expect(http.StatusOK).ExpectBody(one.Body)

			c.MustPush(app, "", second)
			two := c.Get(path, "If-None-Match: "+tag).Expect(http.StatusOK)
			if two.Header.Get("ETag") == tag {
				t.Errorf("two listings have the entity tag %s", tag)
			}
			c.DeleteManifest(app, second.Digest())
			c.Get(path, "If-None-Match: "+tag).Expect(http.StatusNotModified)

			// A page that only gains a next page is a different one.
			c.MustPush(app, "", second)
			page := c.Get(route.With(app, image.Digest, "n", "1")).Expect(http.StatusOK).ExpectBody(one.Body)
			if page.Header.Get("ETag") == tag || page.Header.Get("Link") == "" {
				t.Errorf("a page has the entity tag of the whole listing: %s", page)
			}
		})
	})
}

func TestHeadOfListings(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		for i := range 3 {
			c.MustPush("app", "", harness.ORASArtifact("a/b").To(image).Annotated("n", fmt.Sprint(i)))
		}
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			for _, path := range []string{
				route.Path("app", image.Digest), route.Path("none", image.Digest),
				route.With("app", image.Digest, "n", "1", "artifactType", "a/b"),
			} {
				get, head := c.Get(path).Expect(http.StatusOK), c.Head(path).Expect(http.StatusOK)
				get.Header.Del("Date")
				head.Header.Del("Date")
				equal(t, "headers of HEAD "+path, head.Header, get.Header)
				head.ExpectBody(nil).ExpectLength(len(get.Body))
			}
			c.Head(route.Path("app", "sha256:abc")).Expect(http.StatusBadRequest).ExpectBody(nil)
		})
	})
}

func TestListingsRefuse(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image := c.PushImage("app", "v1", "layer")
		for i := range 3 {
			c.MustPush("app", "", harness.ORASArtifact("a/b").To(image).Annotated("n", fmt.Sprint(i)))
		}
		onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
			for _, n := range []string{"0", "-1", "", "x", "1.5", "1e3", "+1", "%201", "0x10", "1%00"} {
				c.Get(joined(route.Path("app", image.Digest), "n="+n)).ExpectError(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID")
			}
			for _, n := range []string{"10001", "99999999999999999999999999", "000003"} {
				if page := c.Page(route, joined(route.Path("app", image.Digest), "n="+n)); len(page.Entries) != 3 || page.Next() != "" {
					t.Errorf("n=%s: %s", n, page)
				}
			}
			for _, token := range []string{"", "x", "!", "AAAA", "..", strings.Repeat("A", 5000)} {
				resp := c.Get(route.With("app", image.Digest, "nextToken", token)).Expect(http.StatusBadRequest)
				if resp.Errors()[0].Code == "" {
					t.Errorf("no code: %s", resp)
				}
			}
			for _, d := range []string{
				"sha256:abc", "sha256:" + strings.Repeat("g", 64), "md5:" + strings.Repeat("a", 32), "v1", "sha256",
				"sha256:" + strings.ToUpper(image.Digest.Encoded()), strings.Repeat("a", 64),
			} {
				path := strings.ReplaceAll(route.Path("app", image.Digest), image.Digest.String(), d)
				c.Get(path).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
			}
			for _, name := range []string{"UPPER", "a//b", "-a", "a_", strings.Repeat("a/", 200) + "a"} {
				c.Get(route.Path(name, image.Digest)).ExpectError(http.StatusBadRequest, "NAME_INVALID")
			}
		})
		c.Get("/v2/app/_oras/artifacts/referrers").ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		c.Get("/v2/app/_oras/artifacts/referrers?digest=").ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
	})
}

func digestsOf(list []harness.Manifest) []string {
	digests := make([]string, len(list))
	for i, m := range list {
		digests[i] = m.Digest().String()
	}
	return digests
}

// texts are the digests of descriptors, in their order.
func texts(list []harness.Descriptor) []string {
	digests := make([]string, len(list))
	for i, d := range list {
		digests[i] = d.Digest.String()
	}
	return digests
}
