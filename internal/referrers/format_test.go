package referrers

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func someReferrers() []*Referrer {
	subject := digest.FromString("subject")
	return []*Referrer{
		{Digest: digest.FromString("a"), MediaType: "a/b", Size: 7, Subject: subject},
		{
			Digest: digest.FromString("b"), MediaType: "a/b", ArtifactType: "c/d", Size: 8, Subject: subject,
			Annotations: json.RawMessage(`{"k":"<two>\nlines"}`), AnnotationsSize: 19,
			TypeCreated: time.Unix(1_700_000_000, 5).UTC(), OCICreated: time.Unix(1_600_000_000, 0).UTC(),
		},
		{Digest: digest.FromString("c"), MediaType: "a/b", Size: 9_000_000_000, AnnotationsSize: 300_000},
	}
}

func encoded(t testing.TB, list []*Referrer) []byte {
	t.Helper()
	file, err := encodeSummary("t", list)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func someFacts() facts {
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.FromString("c")
	return facts{a: "", b: a, c: b}
}

func TestSummaryRoundTrip(t *testing.T) {
	t.Parallel()
	stored := parseSummary("t", encoded(t, someReferrers()))
	if len(stored) != len(someReferrers()) {
		t.Fatalf("read back %d", len(stored))
	}
	for _, want := range someReferrers() {
		got := stored[want.Digest]
		if got == nil || !jsonEqual(got.Annotations, want.Annotations) {
			t.Fatalf("%s: read back %+v", want.Digest, got)
		}
		got.Annotations = want.Annotations
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read back %+v, expected %+v", got, want)
		}
	}
}

func jsonEqual(a, b json.RawMessage) bool {
	var x, y any
	_ = json.Unmarshal(a, &x)
	_ = json.Unmarshal(b, &y)
	return reflect.DeepEqual(x, y)
}

// A derived file that is not whole, or changed in any byte, says nothing; nor
// does one that says something about another repository.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	damaged := func(file []byte, check func(file []byte) (known int)) {
		t.Helper()
		if check(file) == 0 {
			t.Error("nothing is read from a file that is whole")
		}
		cases := map[string][]byte{"longer": append(slices.Clone(file), '\n')}
		for n := range file {
			cases["cut at "+strconv.Itoa(n)] = file[:n]
			changed := slices.Clone(file)
			changed[n] ^= 1
			cases["changed at "+strconv.Itoa(n)] = changed
		}
		for name, file := range cases {
			if n := check(file); n > 0 {
				t.Errorf("%s: read %d", name, n)
			}
		}
	}
	damaged(encoded(t, someReferrers()), func(file []byte) int { return len(parseSummary("t", file)) })
	damaged(someFacts().encode("team/app", "t"), func(file []byte) int { return len(parseFacts("team/app", "t", string(file))) })
	if f := parseFacts("team/app", "t", string(someFacts().encode("team/other", "t"))); len(f) > 0 {
		t.Errorf("of another repository: read %v", f)
	}
}

func TestFactsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, f := range []facts{{}, someFacts()} {
		if got := parseFacts("team/app", "t", string(f.encode("team/app", "t"))); !maps.Equal(got, f) {
			t.Errorf("read back %v, expected %v", got, f)
		}
	}
}

// FuzzSummary reads summaries that others wrote: what is read is the same when it
// is written and read again.
func FuzzSummary(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(encoded(f, someReferrers()))
	for _, body := range []string{"{", "null", `{"digest":7}`, `{"digest":"x"}{"digest":"y"}`, `{"typeCreated":"x"}`, `{"annotations":[1]}`} {
		f.Add([]byte(summaryHead("t", []byte(body)) + body))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, body, ok := bytes.Cut(file, []byte("\n")); ok {
			file = append([]byte(summaryHead("t", body)), body...) // with the right sum
		}
		stored := parseSummary("t", file)
		again := parseSummary("t", encoded(t, slices.Collect(maps.Values(stored))))
		if len(again) != len(stored) {
			t.Errorf("%v was read back as %v", stored, again)
		}
	})
}

// FuzzFacts reads files that others wrote: what is read is the same when it is
// written and read again.
func FuzzFacts(f *testing.F) {
	f.Add("team/app", "")
	f.Add("team/app", string(someFacts().encode("team/app", "t")))
	f.Add("team/app", string(someFacts().encode("team/other", "t")))
	for _, body := range []string{"no digest\n", "\n", "sha256:x sha256:y\nsha256:x\n"} {
		f.Add("a", factsHead("a", "t", body)+body)
	}
	f.Fuzz(func(t *testing.T, repository, file string) {
		if strings.ContainsAny(repository, " \n") {
			return // no name of a repository
		}
		if _, body, ok := strings.Cut(file, "\n"); ok {
			file = factsHead(repository, "t", body) + body // with the right sum
		}
		known := parseFacts(repository, "t", file)
		again := parseFacts(repository, "t", string(known.encode(repository, "t")))
		if !maps.Equal(again, known) {
			t.Errorf("%v was read back as %v", known, again)
		}
		for d, subject := range known {
			if d.Validate() != nil || subject != "" && subject.Validate() != nil {
				t.Errorf("%q and %q count as digests", d, subject)
			}
		}
	})
}
