//go:build e2e

package backends_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/test/derived"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/load"
	"github.com/oras-distribution/registry/test/replicas"
)

// passed are the environment variables that the script `with` sets.
var passed = []string{
	harness.StorageVariable, "STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY", "SSL_CERT_FILE",
}

// use starts backends for the rest of the test.
func use(t *testing.T, backends ...string) {
	t.Helper()
	args := append(backends, "--", "sh", "-c", "env; echo ready; cat")
	cmd := exec.Command(filepath.Join(harness.Root(), "test", "backends", "with"), args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close() // ends the script, which stops the backends
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "ready" {
		if name, value, _ := strings.Cut(lines.Text(), "="); slices.Contains(passed, name) {
			t.Setenv(name, value)
		}
	}
	if lines.Text() != "ready" {
		t.Fatalf("%s does not start", strings.Join(backends, " and "))
	}
}

// suite runs all tests of a backend. cache is the descriptor cache of registries where
// one must be stale, many is the number of referrers of one subject.
func suite(t *testing.T, cache string, many int) {
	t.Run("one subject", func(t *testing.T) {
		replicas.Load{Registries: 2, Clients: 16, Operations: 20}.OneSubject(t)
	})
	t.Run("same manifest", func(t *testing.T) {
		replicas.Load{Registries: 3, Operations: 20}.SameDigest(t)
	})
	t.Run("broken off", func(t *testing.T) {
		replicas.Load{Registries: 3, Operations: 20, BreakOff: true}.SameDigest(t)
	})
	t.Run("many", func(t *testing.T) { manyReferrers(t, many) })
	t.Run("deleted elsewhere", func(t *testing.T) { deletedElsewhere(t, cache) })
	t.Run("derived data", func(t *testing.T) { derived.Run(t, derived.Processes(t), 2, 300) })
}

// blackbox runs the black-box suite on the backend.
func blackbox(t *testing.T) { goTest(t, "./test/blackbox") }

// clients runs the tests with real clients on three replicas behind a proxy.
func clients(t *testing.T) { goTest(t, "-tags", "e2e", "./test/interop", "-interop.replicas=3") }

// goTest runs the tests of a package on the backend.
func goTest(t *testing.T, args ...string) {
	args = append([]string{"test", "-count=1", fmt.Sprintf("-race=%t", harness.Race())}, args...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = harness.Root()
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// moreThanAPage is more than S3 lists in one answer.
const moreThanAPage = 1050

// manyReferrers lists more referrers of one subject than fit on a page.
func manyReferrers(t *testing.T, count int) {
	list := replicas.Start(t, 2, harness.Options{})
	repo := load.NewRepository("many/app", 1, replicas.Clients(list)...)
	subject := repo.Subjects[0]
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for range count {
		m := repo.Referrer(subject)
		group.Go(func() error { return repo.Push(ctx, repo.Any(), m) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	list[1].Restart() // it remembers nothing
	repo.Clients[1] = list[1].Client()
	for _, c := range repo.Clients {
		for _, pageSize := range []int{0, 1 + count/3} {
			all, err := repo.List(t.Context(), harness.OCI, subject.Digest, pageSize, c)
			if err != nil || len(all) != count {
				t.Errorf("pages of %d list %d of %d referrers: %v", pageSize, len(all), count, err)
			}
		}
	}
}

// deletedElsewhere has one registry delete a manifest that the descriptor cache
// of another still knows.
func deletedElsewhere(t *testing.T, cache string) {
	list := replicas.Start(t, 2, harness.Options{
		Config: harness.Configf("storage: {cache: {blobdescriptor: %s}}", cache),
	})
	repo := load.NewRepository("deleted/app", 1, replicas.Clients(list)...)
	for range 4 { // one of each kind
		m := repo.Referrer(repo.Subjects[0])
		t.Run(m.ContentType, func(t *testing.T) { deleteElsewhere(t, repo, m) })
	}
}

func deleteElsewhere(t *testing.T, repo *load.Repository, m harness.Manifest) {
	ctx, here, there := t.Context(), repo.Clients[0], repo.Clients[1]
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(repo.Push(ctx, here, m))
	remember := func() { // the other registry's cache
		t.Helper()
		there.For(t).GetManifest(repo.Name, m.Digest().String()).Expect(http.StatusOK)
		must(listed(ctx, repo, there, m))
	}
	remember()
	must(repo.Delete(ctx, here, m.Digest()))
	must(listed(ctx, repo, there, m))
	must(listed(ctx, repo, here, m))

	must(repo.Push(ctx, there, m)) // whose cache says that it is there
	must(listed(ctx, repo, there, m))
	must(listed(ctx, repo, here, m))
	remember()
	here.For(t).GetManifest(repo.Name, m.Digest().String()).Expect(http.StatusOK)

	must(repo.Delete(ctx, here, m.Digest()))
	must(repo.DeleteOnly(ctx, there, m.Digest(), http.StatusNotFound, http.StatusAccepted))
	must(listed(ctx, repo, there, m))
	must(repo.Push(ctx, here, m))
	must(listed(ctx, repo, there, m))
}

// listed lists the subject of a manifest on all routes: the Ledger knows what the
// answers must be.
func listed(ctx context.Context, repo *load.Repository, c *harness.Client, m harness.Manifest) error {
	for _, route := range harness.Routes() {
		if _, err := repo.List(ctx, route, m.Subject.Digest, 0, c); err != nil {
			return err
		}
	}
	return nil
}
