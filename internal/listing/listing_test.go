package listing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/referrers"
)

var testView = View{
	Name: "test", ContentType: "application/json", Head: `{"list":[`, Tail: `]}`, Kept: []string{"digest"},
	Position: func(r *referrers.Referrer) Position {
		if r.OCICreated.IsZero() {
			return Undated()
		}
		return NewestFirst(r.OCICreated)
	},
}

var subject = digest.FromString("subject").String()

type fixed []*referrers.Referrer

func (f fixed) Referrers(context.Context, string, digest.Digest) (*referrers.Set, error) {
	return &referrers.Set{Referrers: f}, nil
}

// many makes n referrers, every third of which does not say when it was made,
// with size bytes of annotations each.
func many(n, size int) fixed {
	list := make(fixed, n)
	for i := range list {
		list[i] = &referrers.Referrer{
			Digest: digest.FromString(fmt.Sprint(i)), MediaType: "a/b", ArtifactType: fmt.Sprintf("t+%d", i%2), Size: int64(i),
			Annotations: json.RawMessage(`{"x":"` + strings.Repeat("y", size) + `"}`),
		}
		if i%3 != 0 {
			list[i].OCICreated = time.Unix(int64(i/2), 0)
		}
	}
	return list
}

type answer struct {
	*httptest.ResponseRecorder
	digests []digest.Digest
	next    string
}

func ask(t *testing.T, list fixed, target string, header ...string) answer {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	if err := testView.Serve(w, r, list, "r", subject); err != nil {
		t.Fatalf("GET %s: %v", target, err)
	}
	a := answer{ResponseRecorder: w}
	if w.Code == http.StatusOK {
		var body struct {
			List []struct{ Digest digest.Digest }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("GET %s: %v", target, err)
		}
		for _, item := range body.List {
			a.digests = append(a.digests, item.Digest)
		}
	}
	if link := w.Header().Get("Link"); link != "" {
		a.next, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	return a
}

func TestEmptyListIsAList(t *testing.T) {
	if a := ask(t, nil, "/x"); a.Body.String() != `{"list":[]}` || a.Header().Get("Content-Length") != "11" {
		t.Errorf("body %s, header %v", a.Body, a.Header())
	}
}

// The pages together are the whole, in the order of the whole, for any size of page.
func TestPagesAreTheWhole(t *testing.T) {
	list := many(50, 10)
	whole := ask(t, list, "/x").digests
	for n := 1; n < 60; n += 7 {
		var walked []digest.Digest
		for next := fmt.Sprintf("/x?n=%d&digest=d%%2B1", n); next != ""; {
			a := ask(t, list, next)
			if len(a.digests) > n {
				t.Fatalf("n=%d: %d entries", n, len(a.digests))
			}
			if a.next != "" && (!strings.Contains(a.next, fmt.Sprintf("n=%d&", n)) || !strings.Contains(a.next, "digest=d%2B1")) {
				t.Fatalf("the link %s does not repeat the query", a.next)
			}
			walked, next = append(walked, a.digests...), a.next
		}
		if fmt.Sprint(walked) != fmt.Sprint(whole) {
			t.Errorf("n=%d: %v, want %v", n, walked, whole)
		}
	}
}

// What is pushed or deleted between two pages neither hides nor repeats the rest.
func TestPagesWhileTheListChanges(t *testing.T) {
	list := many(30, 10)
	seen := map[digest.Digest]int{}
	for next := "/x?n=4"; next != ""; {
		a := ask(t, list, next)
		for _, d := range a.digests {
			seen[d]++
		}
		next = a.next
		if len(a.digests) > 0 { // delete the last one that was shown, push another
			for i, r := range list {
				if r.Digest == a.digests[len(a.digests)-1] {
					list = append(append(fixed{}, list[:i]...), list[i+1:]...)
					break
				}
			}
			list = append(list, &referrers.Referrer{Digest: digest.FromString(next), OCICreated: time.Unix(1e9, 0)})
		}
	}
	for _, r := range many(30, 10) {
		if seen[r.Digest] != 1 {
			t.Errorf("%s was shown %d times", r.Digest, seen[r.Digest])
		}
	}
}

func TestPageHasAtMostMaxBytes(t *testing.T) {
	list := many(100, 100_000)
	var walked int
	for next := "/x"; next != ""; {
		a := ask(t, list, next)
		if a.Body.Len() > MaxBytes {
			t.Errorf("a page of %d bytes", a.Body.Len())
		}
		walked, next = walked+len(a.digests), a.next
	}
	if walked != len(list) {
		t.Errorf("%d entries, want %d", walked, len(list))
	}
}

func TestFilter(t *testing.T) {
	list := many(10, 1)
	for query, want := range map[string]int{
		"artifactType=t%2B0": 5, "artifactType=t%2B1&artifactType=t%2B0": 10,
		"artifactType=t": 0, "artifactType=": 10, "artifactType=t%2B0&artifactType=t%2B0": 5,
	} {
		if got := len(ask(t, list, "/x?"+query).digests); got != want {
			t.Errorf("%s: %d entries, want %d", query, got, want)
		}
	}
	if next := ask(t, list, "/x?n=1&artifactType=t%2B0").next; !strings.Contains(next, "artifactType=t%2B0") {
		t.Errorf("the link %s does not repeat the filter", next)
	}
}

func TestEntityTag(t *testing.T) {
	list := many(3, 1)
	tag := ask(t, list, "/x").Header().Get("ETag")
	for _, match := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		if a := ask(t, list, "/x", "If-None-Match", match); a.Code != http.StatusNotModified || a.Body.Len() > 0 {
			t.Errorf("If-None-Match %s: %d with %d bytes", match, a.Code, a.Body.Len())
		}
	}
	if a := ask(t, list[:2], "/x", "If-None-Match", tag); a.Code != http.StatusOK {
		t.Errorf("a changed list: %d", a.Code)
	}
	if first := ask(t, list, "/x?n=2").Header().Get("ETag"); first == ask(t, list[:2], "/x?n=2").Header().Get("ETag") {
		t.Error("pages of the same entries, with and without a next one, have the same tag")
	}
}

// parse parses a query of the listing that the tests ask for.
func parse(v View, raw string) (query, error) { return v.parseQuery(raw, "r", digest.Digest(subject)) }

// tokenOf is a token of the listing that a query asks for.
func tokenOf(t testing.TB, v View, repository, subject, raw string) string {
	t.Helper()
	q, err := v.parseQuery(raw, repository, digest.Digest(subject))
	if err != nil {
		t.Fatal(err)
	}
	return url.QueryEscape(q.encodeToken(placed{Undated(), many(1, 1)[0]}))
}

// A token is only for the listing that it comes from: elsewhere, its position would leave
// something out.
func TestTokensOfOtherListings(t *testing.T) {
	oci := testView
	oci.Name = "oci"
	for name, token := range map[string]string{
		"API": tokenOf(t, oci, "r", subject, ""), "repository": tokenOf(t, testView, "s", subject, ""),
		"subject": tokenOf(t, testView, "r", digest.FromString("other").String(), ""), "filter": tokenOf(t, testView, "r", subject, "artifactType=a"),
	} {
		err := testView.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x?nextToken="+token, nil), many(1, 1), "r", subject)
		var coded errcode.Error
		if !errors.As(err, &coded) || coded.Code != errcode.ErrorCodePaginationNumberInvalid {
			t.Errorf("of another %s: %v", name, err)
		}
	}
	token := tokenOf(t, testView, "r", subject, "artifactType=a&artifactType=b")
	if _, err := parse(testView, "artifactType=b&artifactType=a&n=2&nextToken="+token); err != nil {
		t.Errorf("the same filters in another order: %v", err)
	}
}

func TestRefusedQueries(t *testing.T) {
	for _, query := range []string{
		"n=0", "n=-1", "n=x", "n=", "n=+1", "n=1.5", "n=%20", "n=1e3", "n=0x10",
		"nextToken=", "nextToken=x", "nextToken=AAAA", "nextToken=" + strings.Repeat("A", 5_000), "n=%zz",
	} {
		err := testView.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x?"+query, nil), many(1, 1), "r", subject)
		var coded errcode.Error
		if !errors.As(err, &coded) || coded.Code != errcode.ErrorCodePaginationNumberInvalid {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, query := range []string{"n=10001", "n=18446744073709551616", "n=" + strings.Repeat("9", 1000), "n=007"} {
		if got := len(ask(t, many(5, 1), "/x?"+query).digests); got != 5 {
			t.Errorf("%s: %d entries", query, got)
		}
	}
}

// unread is a list that must not be read.
type unread struct{ testing.TB }

func (u unread) Referrers(context.Context, string, digest.Digest) (*referrers.Set, error) {
	u.Error("the list is read")
	return &referrers.Set{}, nil
}

func TestLongQueriesReadNothing(t *testing.T) {
	request := httptest.NewRequest(http.MethodGet, "/x?artifactType="+strings.Repeat("a", 8<<10), nil)
	err := testView.Serve(httptest.NewRecorder(), request, unread{t}, "r", subject)
	var refused StatusError
	if !errors.As(err, &refused) || refused.Status != http.StatusRequestURITooLong {
		t.Errorf("%v", err)
	}
}

// Every time has its place, also those that do not fit into nanoseconds.
func TestPositionOfDistantTimes(t *testing.T) {
	times := []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0),
		time.Unix(0, 1), time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	r := &referrers.Referrer{Digest: digest.FromString("x")}
	for i := 1; i < len(times); i++ {
		before := func(a, b Position) bool { return placed{a, r}.compare(placed{b, r}) < 0 }
		if !before(OldestFirst(times[i-1]), OldestFirst(times[i])) || !before(NewestFirst(times[i]), NewestFirst(times[i-1])) {
			t.Errorf("%v and %v are in the wrong order", times[i-1], times[i])
		}
		if !before(NewestFirst(times[i]), Undated()) {
			t.Errorf("%v is not before the last", times[i])
		}
	}
}

// No token panics, and one that is taken is one that could have been given.
func FuzzToken(f *testing.F) {
	q, err := parse(testView, "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(q.encodeToken(placed{Undated(), many(1, 1)[0]}))
	f.Add("dGVzdAA")
	f.Fuzz(func(t *testing.T, token string) {
		if p := q.decodeToken(token); p != nil && q.encodeToken(*p) != token {
			t.Errorf("%q is taken, but is not the token of %v", token, p)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("n=1&artifactType=a%2Bb&nextToken=x")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parse(testView, raw)
		if err != nil {
			return
		}
		again, err := parse(testView, q.link(q.encodeToken(placed{Undated(), many(1, 1)[0]})))
		if err != nil || again.limit != q.limit || fmt.Sprint(again.artifactTypes) != fmt.Sprint(q.artifactTypes) {
			t.Errorf("%q: the next page is asked for with %+v, not %+v (%v)", raw, again, q, err)
		}
	})
}
