package blackbox_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// replicas starts two registries on one tree, each with its own descriptor cache.
func replicas(t *testing.T) (a, b *harness.Client) {
	t.Helper()
	options := harness.Options{Driver: harness.SharedDriver(), Config: "storage: {cache: {blobdescriptor: inmemory}}"}
	first := harness.Start(t, options)
	options.Root = first.Root
	return first.Client(), harness.Start(t, options).Client()
}

// What one replica has acknowledged is in the very next answer of the other.
func TestTwoReplicas(t *testing.T) {
	a, b := replicas(t)
	image, kinds := everyKind(a, "app")
	sameDigests(t, "before", b.Referrers(harness.OCI, "app", image.Digest))
	for _, kind := range kinds {
		m := kind.manifest
		if m.Subject == nil {
			continue
		}
		for _, pair := range [][2]*harness.Client{{a, b}, {b, a}} {
			pair[0].MustPush("app", "", m)
			sameDigests(t, "the other, after the push", pair[1].Referrers(harness.OCI, "app", image.Digest), m.Digest())
			sameDigests(t, "the same, after the push", pair[0].Referrers(harness.OCI, "app", image.Digest), m.Digest())
			pair[1].GetManifest("app", m.Digest().String()).Expect(http.StatusOK)
			pair[0].DeleteManifest("app", m.Digest())
			sameDigests(t, "the other, after the deletion", pair[1].Referrers(harness.OCI, "app", image.Digest))
			sameDigests(t, "the same, after the deletion", pair[0].Referrers(harness.OCI, "app", image.Digest))
		}
	}
}

// A replica's descriptor cache may still contain what another has deleted.
func TestDeletionThatAnotherReplicaHasDone(t *testing.T) {
	a, b := replicas(t)
	image := a.PushImage("app", "v1", "layer")
	for i := range 4 {
		m := harness.ORASArtifact("a/b").To(image).Annotated("number", fmt.Sprint(i))
		a.MustPush("app", "", m)
		path := harness.ManifestPath("app", m.Digest().String())
		b.Head(path, harness.AcceptAll).Expect(http.StatusOK)
		b.Get(path, harness.AcceptAll).Expect(http.StatusOK)
		a.DeleteManifest("app", m.Digest())
		b.Delete(path).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
		b.Get(path, harness.AcceptAll).Expect(http.StatusNotFound)
		sameDigests(t, "referrers", b.Referrers(harness.OCI, "app", image.Digest))
		b.MustPush("app", "", m)
		a.Get(path, harness.AcceptAll).Expect(http.StatusOK)
		sameDigests(t, "referrers", a.Referrers(harness.OCI, "app", image.Digest), m.Digest())
		b.DeleteManifest("app", m.Digest())
	}
}

// Pages may be requested from any replica.
func TestPagesOfTwoReplicas(t *testing.T) {
	a, b := replicas(t)
	image := a.PushImage("app", "v1", "layer")
	attach(a, "app", image, "a/b", 4)
	attach(b, "app", image, "c/d", 3)
	for _, route := range harness.Routes() {
		want := texts(a.Referrers(route, "app", image.Digest))
		var got []string
		clients := []*harness.Client{a, b}
		path := route.With("app", image.Digest, "n", "1")
		for i := 0; path != ""; i++ {
			page := clients[i%2].Page(route, path)
			got = append(got, texts(page.Entries)...)
			path = page.Next()
		}
		equal(t, route.Name, got, want)
	}
}

func TestListingsSurviveARestart(t *testing.T) {
	r := harness.Start(t, harness.Options{Driver: harness.SharedDriver()})
	image, kinds := everyKind(r.Client(), "app")
	for _, kind := range kinds {
		r.Client().MustPush("app", "", kind.manifest)
	}
	want := map[string][]harness.Descriptor{}
	for _, route := range harness.Routes() {
		want[route.Name] = r.Client().Referrers(route, "app", image.Digest)
	}
	for _, stop := range []func(){r.Kill, func() { _ = r.Stop() }} {
		stop()
		r.Restart()
		for _, route := range harness.Routes() {
			equal(t, route.Name, r.Client().Referrers(route, "app", image.Digest), want[route.Name])
		}
	}
}

// All replicas have the same order, even for referrers that do not say when they were
// created and that were deleted and pushed again.
func TestReplicasAgreeOnTheOrder(t *testing.T) {
	a, b := replicas(t)
	image := a.PushImage("app", "v1", "layer")
	first := harness.ORASArtifact("a/b").To(image).Annotated("name", "first")
	second := harness.ORASArtifact("a/b").To(image).Annotated("name", "second")
	a.MustPush("app", "", first)
	a.MustPush("app", "", second)
	sameDigests(t, "before", b.Referrers(harness.OCI, "app", image.Digest), first.Digest(), second.Digest())
	a.DeleteManifest("app", first.Digest())
	a.MustPush("app", "", first)
	equal(t, "the order", texts(b.Referrers(harness.OCI, "app", image.Digest)), texts(a.Referrers(harness.OCI, "app", image.Digest)))
}
