package namespace_test

import (
	"errors"
	"testing"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/push"
)

// referrer is an artifact that refers to a subject.
func referrer(subject digest.Digest) string {
	return `{"mediaType":"` + artifact + `","subject":` + descriptor("a/b", subject, 1) + `}`
}

func TestDelete(t *testing.T) {
	w := newWorld(t, namespace.Options{DeleteEnabled: true})
	subject := digest.FromString("subject")
	d := w.mustPut(artifact, referrer(subject))
	if got := w.listed(subject); len(got) != 1 {
		t.Fatalf("listed: %v", got)
	}
	if err := w.manifests.Delete(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := w.listed(subject); len(got) != 0 {
		t.Errorf("listed: %v", got)
	}
	if _, err := w.manifests.Get(t.Context(), d); !errors.As(err, new(distribution.ErrManifestUnknownRevision)) {
		t.Errorf("get: %v", err)
	}
	for _, gone := range []digest.Digest{d, subject} {
		if err := w.manifests.Delete(t.Context(), gone); !errors.Is(err, distribution.ErrBlobUnknown) {
			t.Errorf("deleting what is not there: %v", err)
		}
	}
	w.mustPut(artifact, referrer(subject))
	if got := w.listed(subject); len(got) != 1 {
		t.Errorf("pushed again, listed: %v", got)
	}
}

func TestDeleteSwitch(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	subject := digest.FromString("subject")
	d := w.mustPut(artifact, referrer(subject))
	if err := w.manifests.Delete(t.Context(), d); !errors.Is(err, distribution.ErrUnsupported) {
		t.Errorf("delete: %v", err)
	}
	if got := w.listed(subject); len(got) != 1 {
		t.Errorf("listed: %v", got)
	}
}

// A manifest that another replica deletes between its revision and its link is
// not acknowledged, and leaves no link behind.
func TestDeletedMeanwhile(t *testing.T) {
	w := newWorld(t, namespace.Options{DeleteEnabled: true})
	subject := digest.FromString("subject")
	content := referrer(subject)
	d := digest.FromString(content)
	link := layout.ReferrerLink("app", subject, d)
	w.driver.before = func(path string) {
		if path == link {
			if err := w.driver.Delete(t.Context(), layout.Revision("app", d)); err != nil {
				t.Error(err)
			}
		}
	}
	_, err := w.put(artifact, content)
	var coded errcode.Error
	if !errors.As(err, &coded) || coded.Code != errcode.ErrorCodeUnavailable {
		t.Errorf("the push ends with %v", err)
	}
	if _, err := w.driver.Stat(t.Context(), link); err == nil {
		t.Error("the link is left")
	}
	w.driver.before = nil
	w.mustPut(artifact, content)
	if got := w.listed(subject); len(got) != 1 {
		t.Errorf("pushed again, listed: %v", got)
	}
}

// A disabled type is refused with the key that says so; what is there is served.
func TestDisabledTypes(t *testing.T) {
	options := namespace.Options{Disabled: map[string]string{artifact: "extensions.example.enabled"}}
	w := newWorld(t, options)
	_, err := w.put(artifact, referrer(digest.FromString("subject")))
	if code, fields := refused(t, err); code != errcode.ErrorCodeManifestInvalid || fields != "mediaType" {
		t.Errorf("%v", err)
	}
	content := `{"mediaType":"` + artifact + `"}`
	d := digest.FromString(content)
	for path, text := range map[string]string{layout.BlobData(d): content, layout.RevisionLink("app", d): d.String()} {
		if err := w.driver.PutContent(t.Context(), path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.manifests.Get(t.Context(), d); err != nil {
		t.Error(err)
	}
}

// A pull-through cache stores manifests before their blobs, also of types that
// cannot be pushed.
func TestProxy(t *testing.T) {
	w := newWorld(t, namespace.Options{Proxy: true, Disabled: map[string]string{artifact: "key"}})
	w.mustPut(artifact, `{"mediaType":"`+artifact+`","blobs":[`+descriptor("a/b", digest.FromString("absent"), 1)+`]}`)
	w.mustPut(attached, `{"mediaType":"`+attached+`","artifactType":"t","subject":`+descriptor("a/b", digest.FromString("absent"), 1)+`}`)
}

// Who asks in the context is told the subject.
func TestPushTellsTheSubject(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	subject := digest.FromString("subject")
	for content, want := range map[string]digest.Digest{referrer(subject): subject, `{"mediaType":"` + artifact + `"}`: "", `{"mediaType":"` + artifact + `","config":7}`: ""} {
		m, _, err := distribution.UnmarshalManifest(artifact, []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		ctx, told := push.With(t.Context())
		_, _ = w.manifests.Put(ctx, m)
		if told.Subject != want {
			t.Errorf("%s: told %q, want %q", content, told.Subject, want)
		}
	}
}

// Repositories and manifests are enumerated, and a repository is removed with its
// index.
func TestRemove(t *testing.T) {
	w := newWorld(t, namespace.Options{DeleteEnabled: true})
	subject := digest.FromString("subject")
	d := w.mustPut(artifact, referrer(subject))
	var names []string
	if err := w.namespace.Enumerate(t.Context(), func(name string) error { names = append(names, name); return nil }); err != nil || len(names) != 1 || names[0] != "app" {
		t.Errorf("repositories: %q, %v", names, err)
	}
	var found []digest.Digest
	enumerator := w.manifests.(distribution.ManifestEnumerator)
	if err := enumerator.Enumerate(t.Context(), func(d digest.Digest) error { found = append(found, d); return nil }); err != nil || len(found) != 1 || found[0] != d {
		t.Errorf("manifests: %v, %v", found, err)
	}
	if err := w.namespace.Remove(t.Context(), named(t)); err != nil {
		t.Fatal(err)
	}
	if got := w.listed(subject); len(got) != 0 {
		t.Errorf("listed: %v", got)
	}
}
