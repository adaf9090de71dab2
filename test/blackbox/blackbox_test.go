// Package blackbox_test tests the wire contract of the registry as it runs: as a process
// of its own, over HTTP.
package blackbox_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// onEveryDriver runs a test once on each storage driver, with an empty registry.
func onEveryDriver(t *testing.T, test func(t *testing.T, c *harness.Client)) {
	t.Helper()
	configured(t, "", func(t *testing.T, r *harness.Registry) { test(t, r.Client()) })
}

// configured is onEveryDriver with a configuration.
func configured(t *testing.T, config string, test func(t *testing.T, r *harness.Registry)) {
	t.Helper()
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			test(t, harness.Start(t, harness.Options{Driver: driver, Config: config}))
		})
	}
}

// onEveryRoute runs a test once for each route that lists referrers.
func onEveryRoute(t *testing.T, c *harness.Client, test func(t *testing.T, c *harness.Client, route harness.Route)) {
	t.Helper()
	for _, route := range harness.Routes() {
		t.Run(route.Name, func(t *testing.T) { test(t, c.For(t), route) })
	}
}

// emptyConfig is the config that OCI artifacts have.
func emptyConfig(c *harness.Client, repository, mediaType string) harness.Descriptor {
	config := c.PushBlob(repository, []byte("{}"))
	config.MediaType = mediaType
	return config
}

// equal fails the test unless two values have the same JSON.
func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	gotJSON, wantJSON := indented(t, got), indented(t, want)
	if gotJSON != wantJSON {
		t.Errorf("%s: got\n%s\nwant\n%s", what, gotJSON, wantJSON)
	}
}

func indented(t *testing.T, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sameDigests fails the test unless a listing has exactly these, in any order.
func sameDigests(t *testing.T, what string, got []harness.Descriptor, want ...digest.Digest) {
	t.Helper()
	have := harness.Digests(got)
	slices.Sort(have)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(have, want) {
		t.Errorf("%s: got %d entries %v, want %d %v", what, len(have), have, len(want), want)
	}
}

// expectGone expects a manifest to be in no answer of the registry.
func expectGone(t *testing.T, c *harness.Client, repository string, m harness.Manifest) {
	t.Helper()
	c.GetManifest(repository, m.Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
	if m.Subject == nil || m.Subject.Digest.Validate() != nil {
		return
	}
	for _, route := range harness.Routes() {
		for _, d := range c.Referrers(route, repository, m.Subject.Digest) {
			if d.Digest == m.Digest() {
				t.Errorf("%s lists %s, which is not there", route.Name, d.Digest)
			}
		}
	}
}
