//go:build e2e

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/pinned"
)

// composeFile is what the tests read of a Compose file.
type composeFile struct {
	Services map[string]struct {
		Environment map[string]string
		Volumes     []string
		Ports       []string
	}
}

func readCompose(t *testing.T) (c composeFile) {
	t.Helper()
	content, err := os.ReadFile(path("deploy", "compose", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Docker Compose accepts the file, the images have exact versions, and those that the tests
// use as programs have the versions that are tested.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	file := path("deploy", "compose", "compose.yaml")
	output, err := exec.CommandContext(t.Context(), filepath.Join(pinned.DeployTools(t), "compose"), file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	exact := regexp.MustCompile(`^([a-z0-9/]+):v?\d+\.\d+\.\d+(-[a-z0-9.]+)?$`)
	images := strings.Fields(string(output))
	for _, image := range images {
		if !exact.MatchString(image) {
			t.Errorf("%s is not an exact version", image)
		}
	}
	// The module of Prometheus 3.16.0 is v0.316.0.
	prometheus := strings.Replace(pinnedVersion(t, "test/deploy/tools", "github.com/prometheus/prometheus"), "v0.3", "v3.", 1)
	versitygw := pinnedVersion(t, "test/backends/servers", "github.com/versity/versitygw")
	for _, want := range []string{"prom/prometheus:" + prometheus, "versity/versitygw:" + versitygw} {
		if !slices.Contains(images, want) {
			t.Errorf("%s is tested, the file has %q", want, images)
		}
	}
}

// What the services mount is there, they are reached from this host alone, and the replicas
// accept their configuration.
func TestComposeServices(t *testing.T) {
	t.Parallel()
	replicas := 0
	for name, service := range readCompose(t).Services {
		for _, volume := range service.Volumes {
			if file, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(file, ".") {
				if _, err := os.Stat(path("deploy", "compose", file)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is public: %s", name, port)
			}
		}
		if !strings.HasPrefix(name, "registry-") {
			continue
		}
		replicas++
		var env []string
		for variable, value := range service.Environment {
			env = append(env, variable+"="+value)
		}
		if result := harness.RunWith(t, env, "config", "check", path("deploy", "compose", "registry.yml")); result.Exit != 0 {
			t.Errorf("%s: config check: exit code %d: %s", name, result.Exit, result.Stderr)
		}
		upstreams, err := os.ReadFile(path("deploy", "compose", "caddy", "upstreams"))
		if err != nil || !slices.Contains(strings.Fields(string(upstreams)), name+":5000") {
			t.Errorf("the proxy does not know %s: %s (%v)", name, upstreams, err)
		}
		scraped, err := os.ReadFile(path("deploy", "compose", "prometheus.yml"))
		if err != nil || !strings.Contains(string(scraped), `"`+name+`:5001"`) {
			t.Errorf("Prometheus does not know %s: %s (%v)", name, scraped, err)
		}
	}
	if replicas != 3 {
		t.Errorf("there are %d replicas", replicas)
	}
	promtool(t, "check", "config", "--syntax-only", path("deploy", "compose", "prometheus.yml"))
}

// pinnedVersion is the version of a module that the module in a folder pins.
func pinnedVersion(t *testing.T, folder, module string) string {
	t.Helper()
	content, err := os.ReadFile(path(folder, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(content))
	for i, word := range words {
		if word == module && strings.HasPrefix(words[i+1], "v") {
			return words[i+1]
		}
	}
	t.Fatalf("%s/go.mod does not pin %s", folder, module)
	return ""
}
