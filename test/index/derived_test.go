package index_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// Whatever happens to the derived files, the answer is right.
func TestDerived(t *testing.T) {
	t.Parallel()
	summary, revisions := layout.DerivedSubject(repository, subject.Digest), layout.DerivedManifests(repository)
	stranger := artifact(1000) // not linked
	for name, damage := range map[string]func(t *testing.T, tree tree){
		"all deleted":       func(_ *testing.T, tree tree) { tree.remove(layout.Derived(repository)) },
		"summary deleted":   func(_ *testing.T, tree tree) { tree.remove(summary) },
		"revisions deleted": func(_ *testing.T, tree tree) { tree.remove(revisions) },
		"summary cut":       func(_ *testing.T, tree tree) { tree.edit(summary, func(b []byte) []byte { return b[:len(b)*2/3] }) },
		"revisions cut":     func(_ *testing.T, tree tree) { tree.edit(revisions, func(b []byte) []byte { return b[:len(b)*2/3] }) },
		"summary garbage":   func(_ *testing.T, tree tree) { tree.put(summary, "\x00garbage\n\xff") },
		"revisions garbage": func(_ *testing.T, tree tree) { tree.put(revisions, "\x00garbage\n\xff") },
		"both empty": func(_ *testing.T, tree tree) {
			tree.put(summary, "")
			tree.put(revisions, "")
		},
		"summary with a flipped bit": func(_ *testing.T, tree tree) {
			tree.edit(summary, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("sbom/example"), []byte("sbom/exbmple")) })
		},
		"summary with a manifest that is not linked": func(_ *testing.T, tree tree) {
			tree.edit(summary, func(b []byte) []byte {
				_, body, _ := strings.Cut(string(b), "\n")
				body += fmt.Sprintf(`{"digest":%q,"mediaType":"a/b","subject":%q}`+"\n", stranger.Digest(), subject.Digest)
				return fmt.Appendf(nil, "referrers/2 %s\n%s", digest.FromString(body), body)
			})
		},
		"summary of another subject": func(t *testing.T, tree tree) {
			tree.put(summary, tree.get(t, layout.DerivedSubject(repository, digest.FromString("other subject"))))
		},
		"revisions of another repository": func(t *testing.T, tree tree) {
			tree.put(revisions, tree.get(t, layout.DerivedManifests("other/app")))
		},
		"revisions with an extra line": func(_ *testing.T, tree tree) {
			tree.edit(revisions, func(b []byte) []byte { return append(b, stranger.Digest().String()+"\n"...) })
		},
		"summary from before a delete and a push": func(t *testing.T, tree tree) {
			before := tree.get(t, summary)
			tree.replaceOne(t)
			tree.put(summary, before)
		},
		"revisions from before a delete and a push": func(t *testing.T, tree tree) {
			before := tree.get(t, revisions)
			tree.replaceOne(t)
			tree.put(revisions, before)
		},
		"a folder in the place of the summary": func(_ *testing.T, tree tree) {
			tree.remove(summary)
			tree.put(summary+"/file", "x")
		},
	} {
		for _, store := range []string{"inmemory", "objects"} {
			t.Run(store+"/"+name, func(t *testing.T) {
				t.Parallel()
				tree := tree{t, faultdriver.NewObjects(store)}
				prepare(t, tree)
				damage(t, tree)
				want := tree.linked(t)

				x := open(t, tree.StorageDriver, referrers.Options{})
				expect(t, x, want)
				expect(t, x, want)
				if err := x.Close(t.Context()); err != nil {
					t.Error(err)
				}
				expect(t, open(t, tree.StorageDriver, referrers.Options{}), want)
			})
		}
	}
}

// prepare fills a tree with two subjects and two repositories, all listed before.
func prepare(t *testing.T, tree tree) {
	t.Helper()
	tree.fill(10, 5)
	away := harness.Descriptor{MediaType: subject.MediaType, Digest: digest.FromString("other subject"), Size: 7}
	tree.attach(repository, artifact(0).To(away))
	tree.attach("other/app", artifact(2000))
	x := newIndex(tree.StorageDriver, referrers.Options{})
	list(t, x)
	listOf(t, x, repository, away.Digest)
	listOf(t, x, "other/app", subject.Digest)
	if err := x.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (t tree) remove(path string) {
	t.Helper()
	if err := t.Delete(context.Background(), path); err != nil {
		t.Fatal(err)
	}
}

func (t tree) get(test *testing.T, path string) string {
	test.Helper()
	content, err := t.GetContent(test.Context(), path)
	if err != nil {
		test.Fatal(err)
	}
	return string(content)
}

func (t tree) edit(path string, change func([]byte) []byte) {
	t.Helper()
	content, err := t.GetContent(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.put(path, string(change(content)))
}

// replaceOne deletes a referrer and pushes another one, as another replica does.
func (t tree) replaceOne(test *testing.T) {
	test.Helper()
	x := newIndex(t.StorageDriver, referrers.Options{})
	d := artifact(0).Digest()
	err := x.Delete(test.Context(), repository, d, subject.Digest, func() error {
		return t.Delete(test.Context(), layout.Revision(repository, d))
	})
	if err != nil {
		test.Fatal(err)
	}
	added := t.store(repository, artifact(3000))
	if err := x.Add(test.Context(), repository, subject.Digest, added); err != nil {
		test.Fatal(err)
	}
	x.Pushed(repository, added, artifact(3000).ContentType, subject.Digest)
	if err := x.Close(test.Context()); err != nil {
		test.Fatal(err)
	}
}

// linked returns the referrers that have a link to the subject.
func (t tree) linked(test *testing.T) (list []digest.Digest) {
	test.Helper()
	paths, err := t.List(test.Context(), layout.Referrers(repository, subject.Digest, digest.SHA256))
	if err != nil {
		test.Fatal(err)
	}
	for _, path := range paths {
		list = append(list, digest.NewDigestFromEncoded(digest.SHA256, path[len(path)-64:]))
	}
	return list
}
