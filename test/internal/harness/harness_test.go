package harness_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestRegistryIsStartedStoppedAndStartedAgain(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	image := r.Client().PushImage("app", "v1", "layer")
	if err := r.Stop(); err != nil {
		t.Errorf("SIGTERM ended the registry with %v", err)
	}
	r.Restart()
	r.Client().GetManifest("app", image.Digest.String()).Expect(http.StatusOK)
	r.Kill()
	r.Restart()
	r.Client().GetManifest("app", "v1").Expect(http.StatusOK)
	if strings.Count(r.Log(), "listening on") != 3 {
		t.Errorf("the log does not show three starts:\n%s", r.Log())
	}
}

func TestConfigurationIsMerged(t *testing.T) {
	r := harness.Start(t, harness.Options{
		Driver: harness.InMemory,
		Config: "http: {headers: {X-Test: [yes]}, prefix: /below/}",
	})
	c := r.Client()
	c.URL += "/below"
	c.Get("/v2/").Expect(http.StatusOK).ExpectHeader("X-Test", "yes")
}

func TestRunReturnsExitStatusAndStreams(t *testing.T) {
	if got := harness.Run(t, "--version"); got.Exit != 0 || got.Stdout == "" {
		t.Errorf("--version: %+v", got)
	}
	if got := harness.Run(t, "serve", "/nowhere/config.yml"); got.Exit != 1 || !strings.Contains(got.Stderr, "/nowhere/config.yml") {
		t.Errorf("serve without a file: %+v", got)
	}
}

// recorder is a test whose failure is inspected.
type recorder struct {
	testing.TB
	failed   bool
	cleanups []func()
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Failed() bool          { return r.failed }
func (r *recorder) Cleanup(f func())      { r.cleanups = append(r.cleanups, f) }

// A data race in a registry, or a panic, fails the test that has started it.
func TestWhatARegistryNeverLogsFailsTheTest(t *testing.T) {
	for line, want := range map[string]bool{"WARNING: DATA RACE": true, "http: panic serving": true, "level=error": false} {
		test := &recorder{TB: t}
		harness.Start(test, harness.Options{
			Binary: "/bin/sh", Args: []string{"-c", "echo '" + line + "'; echo listening on 127.0.0.1:1"},
		})
		for _, cleanup := range test.cleanups {
			cleanup()
		}
		if test.failed != want {
			t.Errorf("%q logged fails the test: %t", line, test.failed)
		}
	}
}
