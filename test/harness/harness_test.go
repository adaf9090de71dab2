package harness_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/harness"
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
		t.Errorf("the log does not tell of three starts:\n%s", r.Log())
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
