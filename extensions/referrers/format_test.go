package referrers

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func someSummary() summary {
	s := summary{}
	for i, content := range []string{`{"a":1}`, "", "two\nlines\n", "\x00\xff"} {
		s[digest.FromString(content)] = record{content: []byte(content), pushed: time.Unix(1_700_000_000, int64(i)).UTC()}
	}
	return s
}

func someRevisions() *revisions {
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.FromString("c")
	r := &revisions{complete: true, known: map[digest.Digest][]digest.Digest{}}
	r.add(a, "")
	r.add(b, a)
	r.add(c, a)
	r.add(c, b)
	r.add(c, b)
	return r
}

func TestSummaryRoundTrip(t *testing.T) {
	t.Parallel()
	for _, s := range []summary{{}, someSummary()} {
		if got := parseSummary(s.encode()); !sameSummary(got, s) {
			t.Errorf("read back %v, expected %v", got, s)
		}
	}
}

// A summary that is cut anywhere has the records up to the cut, and no others.
func TestSummaryCut(t *testing.T) {
	t.Parallel()
	whole := someSummary()
	file := whole.encode()
	for n := range file {
		for d, r := range parseSummary(file[:n]) {
			if want, ok := whole[d]; !ok || !bytes.Equal(r.content, want.content) {
				t.Fatalf("cut at %d there is %s: %q", n, d, r.content)
			}
		}
	}
}

func sameSummary(a, b summary) bool {
	return maps.EqualFunc(a, b, func(a, b record) bool { return bytes.Equal(a.content, b.content) && a.pushed.Equal(b.pushed) })
}

// FuzzSummary reads summaries that others wrote: all that is read has the digest
// it is filed under, and is the same when it is written and read again.
func FuzzSummary(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(summaryMagic))
	f.Add(someSummary().encode())
	f.Add([]byte(summaryMagic + digest.FromString("a").Encoded() + " 1 1\nb"))
	f.Add([]byte(summaryMagic + digest.FromString("a").Encoded() + " 1 99999999999\na"))
	f.Add([]byte(summaryMagic + digest.FromString("a").Encoded() + " -1 -1\na"))
	f.Add([]byte(summaryMagic + digest.FromString("a").Encoded() + " 9223372036854775807 1\na"))
	f.Fuzz(func(t *testing.T, file []byte) {
		s := parseSummary(file)
		for d, r := range s {
			if err := d.Validate(); err != nil || digest.FromBytes(r.content) != d {
				t.Errorf("%q is filed under %s: %v", r.content, d, err)
			}
		}
		if again := parseSummary(s.encode()); !sameSummary(again, s) {
			t.Errorf("%v was read back as %v", s, again)
		}
	})
}

func TestRevisionsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, r := range []*revisions{{known: map[digest.Digest][]digest.Digest{}}, someRevisions()} {
		if got := parseRevisions("team/app", r.encode("team/app")); !sameRevisions(got, r) {
			t.Errorf("read back %v, expected %v", got, r)
		}
	}
}

func sameRevisions(a, b *revisions) bool {
	return a.complete == b.complete && maps.EqualFunc(a.known, b.known, slices.Equal[[]digest.Digest])
}

// A file of revisions that is not whole, not this repository's, or changed in
// any byte says nothing.
func TestRevisionsDamaged(t *testing.T) {
	t.Parallel()
	file := someRevisions().encode("team/app")
	damaged := map[string][]byte{"of another repository": someRevisions().encode("team/other"), "longer": append(slices.Clone(file), '\n')}
	for n := range file {
		damaged["cut at "+strconv.Itoa(n)] = file[:n]
		changed := slices.Clone(file)
		changed[n] ^= 1
		damaged["changed at "+strconv.Itoa(n)] = changed
	}
	for name, file := range damaged {
		if r := parseRevisions("team/app", file); r.complete || len(r.known) > 0 {
			t.Errorf("%s: read %v", name, r)
		}
	}
}

// FuzzRevisions reads files of revisions that others wrote: what is read is the
// same when it is written and read again.
func FuzzRevisions(f *testing.F) {
	f.Add("team/app", []byte(nil))
	f.Add("team/app", someRevisions().encode("team/app"))
	f.Add("team/app", someRevisions().encode("team/other"))
	f.Add("a", []byte(revisionsHead("a", "complete", "no digest\n")+"no digest\n"))
	f.Add("a", []byte(revisionsHead("a", "nonsense", "\n")+"\n"))
	f.Add("a", []byte(revisionsHead("a", "complete", "sha256:x sha256:y\nsha256:x\n")+"sha256:x sha256:y\nsha256:x\n"))
	f.Fuzz(func(t *testing.T, repository string, file []byte) {
		if strings.ContainsAny(repository, " \t\n\v\f\r\u0085\u00a0") || strings.Join(strings.Fields(repository), "") != repository {
			return // no name of a repository
		}
		r := parseRevisions(repository, file)
		if again := parseRevisions(repository, r.encode(repository)); repository != "" && !sameRevisions(again, r) {
			t.Errorf("%v was read back as %v", r, again)
		}
		for d, subjects := range r.known {
			for _, each := range append(subjects, d) {
				if err := each.Validate(); err != nil {
					t.Errorf("%q counts as a digest: %v", each, err)
				}
			}
		}
	})
}
