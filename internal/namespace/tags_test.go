package namespace_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/push"
)

// pushTagged pushes an artifact with tags in the query.
func (w *world) pushTagged(content string, tags ...string) (*push.Push, error) {
	w.t.Helper()
	m, _, err := distribution.UnmarshalManifest(artifact, []byte(content))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, told := push.With(w.t.Context())
	told.Tags = tags
	_, err = w.manifests.Put(ctx, m)
	return told, err
}

// tagged expects exactly some tags to name a manifest.
func (w *world) tagged(d digest.Digest, want ...string) {
	w.t.Helper()
	repository, err := w.namespace.Repository(w.t.Context(), named(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	tags, err := repository.Tags(w.t.Context()).All(w.t.Context())
	if err != nil && !errors.As(err, new(distribution.ErrRepositoryUnknown)) {
		w.t.Fatal(err)
	}
	var got []string
	for _, tag := range tags {
		if desc, err := repository.Tags(w.t.Context()).Get(w.t.Context(), tag); err == nil && desc.Digest == d {
			got = append(got, tag)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s is tagged %q, want %q", d, got, want)
	}
}

func TestTagsOfAPush(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	content := referrer(digest.FromString("subject"))
	told, err := w.pushTagged(content, "b", "a", "b")
	if err != nil || !slices.Equal(told.Tagged, []string{"b", "a"}) {
		t.Fatalf("tagged %q: %v", told.Tagged, err)
	}
	w.tagged(digest.FromString(content), "a", "b")
}

// Tags that cannot be set are refused before anything is stored.
func TestTagsThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		tags   []string
		status int
	}{
		"invalid":  {[]string{"a", "not/a/tag"}, 0},
		"empty":    {[]string{""}, 0},
		"too long": {[]string{strings.Repeat("a", 129)}, 0},
		"too many": {slices.Repeat([]string{"a"}, 101), 414},
	} {
		w := newWorld(t, namespace.Options{})
		w.driver.before = func(path string) { t.Errorf("%s: %s is written", name, path) }
		told, err := w.pushTagged(referrer(digest.FromString("subject")), test.tags...)
		if coded := (errcode.Error{}); !errors.As(err, &coded) || coded.Code != errcode.ErrorCodeTagInvalid || told.Status != test.status {
			t.Errorf("%s: %v, status %d", name, err, told.Status)
		}
	}
}

// A push that could not set all tags says so, and can be sent again.
func TestTagsThatFail(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	w.driver.fail = func(path string) error {
		if strings.Contains(path, "/tags/b/") {
			return errors.New("out of order")
		}
		return nil
	}
	content := referrer(digest.FromString("subject"))
	told, err := w.pushTagged(content, "a", "b", "c")
	if coded := (errcode.Error{}); !errors.As(err, &coded) || coded.Code != errcode.ErrorCodeUnavailable || !strings.Contains(fmt.Sprint(coded.Detail), "[b]") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(told.Tagged, []string{"a", "c"}) {
		t.Errorf("tagged %q", told.Tagged)
	}
	w.tagged(digest.FromString(content), "a", "c")
	w.driver.fail = nil
	if _, err := w.pushTagged(content, "a", "b", "c"); err != nil {
		t.Error(err)
	}
	w.tagged(digest.FromString(content), "a", "b", "c")
}

// notified stands for the notifications, and remembers the tags in them.
type notified struct {
	distribution.Repository
	tags *[]string
}

func (n notified) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	inner, err := n.Repository.Manifests(ctx, options...)
	return notifiedManifests{inner, n.tags}, err
}

type notifiedManifests struct {
	distribution.ManifestService
	tags *[]string
}

func (n notifiedManifests) Put(ctx context.Context, m distribution.Manifest, options ...distribution.ManifestServiceOption) (digest.Digest, error) {
	d, err := n.ManifestService.Put(ctx, m, options...)
	if err == nil {
		tag := ""
		for _, option := range options {
			if with, ok := option.(distribution.WithTagOption); ok {
				tag = with.Tag
			}
		}
		*n.tags = append(*n.tags, tag)
	}
	return d, err
}

// Every tag that was set is notified once, also if others were not.
func TestTagsAreAnnounced(t *testing.T) {
	for _, test := range []struct {
		tags []string
		fail string
		want []string
	}{
		{nil, "", []string{""}},
		{[]string{"a"}, "", []string{"a"}},
		{[]string{"a", "b", "a", "c"}, "", []string{"a", "b", "c"}},
		{[]string{"a", "b", "c"}, "a", []string{"b", "c"}},
		{[]string{"a", "b", "c"}, "b", []string{"a", "c"}},
		{[]string{"a"}, "a", nil},
		{[]string{"-"}, "", nil},
	} {
		w := newWorld(t, namespace.Options{})
		repository, err := w.namespace.Repository(t.Context(), named(t))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if w.manifests, err = namespace.Announced(notified{repository, &got}).Manifests(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.driver.fail = func(path string) error {
			if test.fail != "" && strings.Contains(path, "/tags/"+test.fail+"/") {
				return errors.New("out of order")
			}
			return nil
		}
		_, _ = w.pushTagged(referrer(digest.FromString("subject")), test.tags...)
		if !slices.Equal(got, test.want) {
			t.Errorf("%q without %q: %q, want %q", test.tags, test.fail, got, test.want)
		}
	}
}
