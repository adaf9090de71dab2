package blackbox_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// damage is what may happen to the files of one of three referrers, and whether that one
// can be listed afterwards.
type damage struct {
	name   string
	do     func(at place) error
	listed bool
}

// place is where a referrer is kept on the filesystem driver.
type place struct {
	testing.TB
	root              string
	subject, referrer digest.Digest
	stranger          digest.Digest // the referrer of another subject
}

func (p place) file(path string) string { return filepath.Join(p.root, path) }

// remove removes a file or folder.
func (p place) remove(path string) error {
	harness.RemoveAll(p, p.file(path))
	return nil
}

func damages() []damage {
	const app = "app"
	write := func(file, content string) error {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.RemoveAll(file); err != nil { // which may have a second name
			return err
		}
		return os.WriteFile(file, []byte(content), 0o600)
	}
	return []damage{
		{"the manifest's bytes are gone, derived files too", func(p place) error {
			return errors.Join(p.remove(layout.BlobFolder(p.referrer)), p.remove(layout.Derived(app)))
		}, false},
		{"the manifest's bytes are others, derived files gone", func(p place) error {
			return errors.Join(write(p.file(layout.BlobData(p.referrer)), "{}"), p.remove(layout.Derived(app)))
		}, false},
		{"the manifest is not in the repository", func(p place) error { return p.remove(layout.Revision(app, p.referrer)) }, false},
		{"the link is empty", func(p place) error {
			return write(p.file(layout.ReferrerLink(app, p.subject, p.referrer)), "")
		}, true},
		{"the link is nonsense", func(p place) error {
			return write(p.file(layout.ReferrerLink(app, p.subject, p.referrer)), "nonsense")
		}, true},
		{"a link to nothing", func(p place) error {
			return write(p.file(layout.ReferrerLink(app, p.subject, digest.FromString("nothing"))), digest.FromString("nothing").String())
		}, true},
		{"a link from what has another subject", func(p place) error {
			return write(p.file(layout.ReferrerLink(app, p.subject, p.stranger)), p.stranger.String())
		}, true},
		{"files of other names", func(p place) error {
			folder := p.file(layout.Referrers(app, p.subject, digest.Canonical))
			for _, name := range []string{"x", ".hidden", "abc/link", strings.Repeat("g", 64) + "/link", strings.Repeat("a", 63) + "/link"} {
				if err := write(filepath.Join(folder, name), "x"); err != nil {
					return err
				}
			}
			return nil
		}, true},
		{"the derived files are nonsense", func(p place) error {
			return filepath.WalkDir(p.file(layout.Derived(app)), func(path string, entry os.DirEntry, err error) error {
				if err == nil && !entry.IsDir() {
					err = os.WriteFile(path, []byte("nonsense"), 0o600)
				}
				return err
			})
		}, true},
		{"the derived files are gone", func(p place) error { return p.remove(layout.Derived(app)) }, true},
		{"the index is gone", func(p place) error { return p.remove(layout.Refs(app)) }, true},
	}
}

// An entry that is missing or malformed is left out and fails nothing else.
func TestDamagedEntriesAreLeftOut(t *testing.T) {
	for _, damage := range damages() {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			r := harness.Start(t, harness.Options{})
			c := r.Client()
			image := c.PushImage("app", "v1", "layer")
			victim := harness.ORASArtifact("a/b").To(image).Annotated("name", "victim")
			others := []harness.Manifest{victim.Annotated("name", "one"), victim.Annotated("name", "two")}
			for _, m := range append(others, victim) {
				c.MustPush("app", "", m)
			}
			stranger := c.MustPush("app", "", harness.ORASArtifact("a/b").To(victim.Descriptor()))
			c.Referrers(harness.OCI, "app", image.Digest)
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			if err := damage.do(place{t, r.Root, image.Digest, victim.Digest(), stranger.Digest}); err != nil {
				t.Fatal(err)
			}
			r.Restart()
			c = r.Client()
			want := []digest.Digest{others[0].Digest(), others[1].Digest()}
			if damage.listed {
				want = append(want, victim.Digest())
			}
			onEveryRoute(t, c, func(t *testing.T, c *harness.Client, route harness.Route) {
				found := c.Referrers(route, "app", image.Digest)
				sameDigests(t, damage.name, found, want...)
				for _, d := range found {
					c.GetManifest("app", d.Digest.String()).Expect(http.StatusOK)
				}
			})
			if !damage.listed {
				r.AwaitLog(regexp.QuoteMeta(victim.Digest().String()) + "|removed=1")
			}
			// Pushing the same manifest again repairs it.
			c.MustPush("app", "", victim)
			want = []digest.Digest{others[0].Digest(), others[1].Digest(), victim.Digest()}
			sameDigests(t, "repaired", c.Referrers(harness.Draft1, "app", image.Digest), want...)
			c.GetManifest("app", victim.Digest().String()).Expect(http.StatusOK).ExpectBody(victim.Bytes())
		})
	}
}

// A failing storage is an error, never an empty or a short list.
func TestStorageThatFailsIsAnError(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	c.MustPush("app", "", harness.ORASArtifact("a/b").To(image))
	folder := filepath.Join(r.Root, layout.Referrers("app", image.Digest, digest.Canonical))
	for _, restart := range []bool{false, true} {
		if err := os.Rename(folder, folder+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(folder, []byte("a file where a folder is expected"), 0o600); err != nil {
			t.Fatal(err)
		}
		if restart {
			r.Restart()
			c = r.Client()
		}
		for _, route := range harness.Routes() {
			resp := c.Get(route.Path("app", image.Digest)).ExpectError(http.StatusInternalServerError, "UNKNOWN")
			if strings.Contains(string(resp.Body), r.Root) {
				t.Errorf("the answer reveals storage paths: %s", resp)
			}
		}
		c.Push("app", "", harness.ORASArtifact("a/b").To(image).Annotated("n", fmt.Sprint(restart))).
			Expect(http.StatusInternalServerError)
		if err := os.Remove(folder); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(folder+".away", folder); err != nil {
			t.Fatal(err)
		}
		for _, route := range harness.Routes() {
			if found := c.Referrers(route, "app", image.Digest); len(found) == 0 {
				t.Errorf("%s: nothing is listed, although the storage works again", route.Name)
			}
		}
	}
}
