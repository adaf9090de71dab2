package mirror

import (
	"bytes"
	"net/http"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// damages are what a disk may make of a file.
var damages = map[string]func(content []byte) []byte{
	"nothing":          func([]byte) []byte { return nil },
	"half":             func(content []byte) []byte { return content[:len(content)/2] },
	"zeros":            func(content []byte) []byte { return make([]byte, len(content)) },
	"another digest":   func(content []byte) []byte { return swapped(content, `"digest":"sha256:`) },
	"another type":     func(content []byte) []byte { return swapped(content, `"mediaType":"application/vnd.oci.image.`) },
	"another manifest": func([]byte) []byte { return harness.OCIIndex().Bytes() },
	"another document": func([]byte) []byte { return []byte(`{"schemaVersion":2,"manifests":5}`) },
}

// swapped is content of the same length with another character after a text.
func swapped(content []byte, after string) []byte {
	content = bytes.Clone(content)
	at := bytes.Index(content, []byte(after)) + len(after)
	content[at] = map[bool]byte{true: '1', false: '0'}[content[at] == '0']
	return content
}

// damage damages all manifests of some content.
func (c *Content) damage(t *testing.T, root string, how func([]byte) []byte) {
	t.Helper()
	digests := []digest.Digest{c.Image.Digest}
	for _, m := range c.Attached {
		digests = append(digests, m.Digest())
	}
	for _, d := range digests {
		file := root + layout.BlobData(d)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, how(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// refused expects that nothing is given of what is damaged while it cannot be got again: not its
// bytes, and no list that is short.
func (c *Content) refused(t *testing.T, client *harness.Client, repository string) {
	t.Helper()
	references := []string{"v1", c.Image.Digest.String()}
	for _, m := range c.Attached {
		references = append(references, m.Digest().String())
	}
	for _, reference := range references {
		client.GetManifest(repository, reference).ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
		client.Head(harness.ManifestPath(repository, reference), harness.AcceptAll).Expect(http.StatusServiceUnavailable)
	}
	for _, route := range harness.Routes() {
		resp := client.Get(route.Path(repository, c.Image.Digest))
		if resp.Status == http.StatusOK { // what has been read of them before
			c.Whole(t, route, harness.Digests(route.Entries(resp)))
		} else {
			resp.ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
		}
	}
}

// Manifests whose stored bytes are damaged are got again, checked and stored. While the origin
// does not answer, they are an error.
func TestDamagedManifestsAreGotAgain(t *testing.T) {
	for name, how := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := NewOrigin(t)
			content := Push(origin.Client, "app")
			mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 1h")})
			content.Pull(t, mirror.Client(), "origin/app")
			damage := func(remembered, derived bool) {
				t.Helper()
				content.damage(t, mirror.Root, how)
				if !derived {
					harness.RemoveAll(t, mirror.Root+layout.Derived("origin/app"))
				}
				if !remembered {
					mirror.Restart()
				}
			}
			for _, remembered := range []bool{true, false} {
				for _, derived := range []bool{true, false} {
					damage(remembered, derived)
					origin.Fail(Drop)
					content.refused(t, mirror.Client(), "origin/app")
					origin.Fail(nil)
					content.Pull(t, mirror.Client(), "origin/app")
					halfStored(t, mirror.Root)

					damage(remembered, derived)
					content.List(t, mirror.Client(), "origin/app") // before any of them is pulled
					content.Pull(t, mirror.Client(), "origin/app")
					halfStored(t, mirror.Root)
				}
			}
			origin.Fail(Drop)
			content.Pull(t, mirror.Client(), "origin/app")
		})
	}
}

// An origin that has nothing any more does not make a list of what is damaged here empty, nor say
// that there is no such list: clients take both for an image without signatures.
func TestDamagedSubjectsKeepTheirLists(t *testing.T) {
	for name, how := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := NewOrigin(t)
			content := Push(origin.Client, "app")
			mirror := harness.Start(t, harness.Options{Config: origin.Config("ttl: 0s")})
			content.Pull(t, mirror.Client(), "origin/app")
			origin.Fail(Refuse(http.StatusNotFound, "NAME_UNKNOWN"))
			for _, derived := range []bool{true, false} {
				content.damage(t, mirror.Root, how)
				if !derived {
					harness.RemoveAll(t, mirror.Root+layout.Derived("origin/app"))
				}
				mirror.Restart()
				for _, route := range harness.Routes() {
					resp := mirror.Client().Get(route.Path("origin/app", content.Image.Digest))
					if resp.Status == http.StatusOK {
						content.Whole(t, route, harness.Digests(route.Entries(resp)))
					} else {
						resp.ExpectError(http.StatusServiceUnavailable, "UNAVAILABLE")
					}
				}
				mirror.Client().GetManifest("origin/app", content.Image.Digest.String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
			}
		})
	}
}
