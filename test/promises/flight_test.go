package promises_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// Clients that request large pages and do not read them use no more memory than the
// budget. Others wait or are told to retry, and are served afterwards.
func TestPagesInFlightAreCounted(t *testing.T) {
	t.Parallel()
	r := victim(t)
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	for i := range 300 {
		c.MustPush("app", "", harness.OCIIndex().To(image).Annotated("padding", padded(i, 15_500)))
	}
	awaitReady(c, "app", image.Digest)
	var stalled []net.Conn
	attack(t, r, 150, func(i int) {
		conn, err := net.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		stalled = append(stalled, conn)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", harness.OCI.With("app", image.Digest, "n", fmt.Sprint(200+i%9))); err != nil {
			t.Fatal(err)
		}
		c.Get("/v2/") // the next request is sent while this one is in progress
	})
	for _, conn := range stalled {
		_ = conn.Close()
	}
	expectCalm(t, r, func() { awaitReady(c, "app", image.Digest) })
}

// Anything invalid in the place of a derived file is ignored.
func TestStrangeDerivedFiles(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(path string) error{
		"a folder":          func(path string) error { return os.MkdirAll(filepath.Join(path, "folder"), 0o700) },
		"a link to itself":  func(path string) error { return os.Symlink(path, path) },
		"a gibibyte of it":  sparse,
		"nothing in a file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := victim(t)
			c := r.Client()
			image := c.PushImage("app", "v1", "layer")
			want := c.MustPush("app", "", harness.OCIIndex().To(image)).Digest
			listed := func(when string) {
				t.Helper()
				if list := c.Referrers(harness.OCI, "app", image.Digest); len(list) != 1 || list[0].Digest != want {
					t.Errorf("%s: listed is %v", when, list)
				}
			}
			listed("before")
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{layout.DerivedManifests("app"), layout.DerivedSubject("app", image.Digest)} {
				path := filepath.Join(r.Root, file)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if err := put(path); err != nil {
					t.Fatal(err)
				}
			}
			r.Restart()
			c = r.Client()
			listed("after")
			if peak := r.PeakMemory(); peak >= harness.MiB(most) {
				t.Errorf("%d MiB of memory", peak>>20)
			}
		})
	}
}

func sparse(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, 1<<30)
}

// A link whose manifest was deleted is reported, although a delete leaves the folder of
// the revision behind.
func TestVerifyNamesDanglingLinks(t *testing.T) {
	t.Parallel()
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	gone := c.MustPush("app", "", harness.OCIIndex().To(image)).Digest
	c.DeleteManifest("app", gone)
	link := filepath.Join(r.Root, layout.ReferrerLink("app", image.Digest, gone))
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(link, []byte(gone), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := c.Referrers(harness.OCI, "app", image.Digest); len(list) > 0 {
		t.Errorf("listed is %v", list)
	}
	found := harness.Run(t, "referrers", "verify", r.Config)
	if want := "dangling " + layout.Referrer("app", image.Digest, gone); !strings.Contains(found.Stdout, want) {
		t.Errorf("%q is not in\n%s", want, found.Stdout)
	}
}
