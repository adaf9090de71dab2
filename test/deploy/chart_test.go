//go:build e2e

package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/pinned"
)

// path is the path of something in the project.
func path(elements ...string) string {
	return filepath.Join(append([]string{harness.Root()}, elements...)...)
}

// examples are the chart's files of values, by name.
func examples(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(path("deploy", "helm", "registry", "examples", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	named := map[string]string{}
	for _, file := range files {
		named[strings.TrimSuffix(filepath.Base(file), ".yaml")] = file
	}
	return named
}

// render lints the chart, renders it with files of values, and decodes the result into
// Kubernetes' types. It returns the manifests, or what was wrong.
func render(t *testing.T, values ...string) (manifests, wrong string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := append([]string{path("deploy", "helm", "registry"), "registry"}, values...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(pinned.DeployTools(t), "chart"), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", err.Error() + "\n" + stderr.String()
	}
	return stdout.String(), ""
}

// The chart renders with its own values and with each example. The result is safe, and the
// registry accepts its configuration.
func TestChart(t *testing.T) {
	t.Parallel()
	all := examples(t)
	all["without values"] = ""
	for name, file := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manifests, wrong := render(t, slices.DeleteFunc([]string{file}, func(f string) bool { return f == "" })...)
			if wrong != "" {
				t.Fatal(wrong)
			}
			objects := decode(t, manifests)
			expectSafe(t, objects)
			expectConfigured(t, objects)
		})
	}
}

// Values that the chart does not know, or that cannot work, are refused by name.
func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"replica: 3":                             "'replica' not allowed",
		"replicas: three":                        "/replicas",
		"replicas: 0":                            "/replicas",
		"image: {repository: ''}":                "/image/repository",
		"image: {digest: latest}":                "/image/digest",
		"config: {http: {addr: ':80'}}":          "/config/http/addr",
		"config: {http: {secret: x}}":            "/config/http/secret",
		"config: {storage: {s3: {secretkey: }}}": "/config/storage/s3/secretkey",
		"config: {redis: {password: x}}":         "/config/redis/password",
		"config: {extensions: {mirror: {upstreams: {a: {password: x}}}}}":            "/config/extensions/mirror/upstreams/a/password",
		"env: {REGISTRY_HTTP_SECRET: {secret: registry}}":                            "/env/REGISTRY_HTTP_SECRET",
		"files: {users: {secret: a, configMap: b}}":                                  "/files/users",
		"files: {users: /etc/passwd}":                                                "/files/users",
		"volume: {size: large}":                                                      "/volume/size",
		"volume: {accessModes: [ReadOnlyMany]}":                                      "/volume/accessModes",
		"ingress: {enabled: true}":                                                   "/ingress/hosts",
		"gateway: {enabled: true, hostnames: [a]}":                                   "/gateway/parentRefs",
		"retention: {schedule: nightly}":                                             "/retention/schedule",
		"podDisruptionBudget: {maxUnavailable: 0}":                                   "/podDisruptionBudget/maxUnavailable",
		"service: {type: ExternalName}":                                              "/service/type",
		"nodeSelector: {gpu: true}":                                                  "/nodeSelector/gpu",
		"replicas: 2":                                                                "ReadWriteMany",
		"{replicas: 2, volume: {accessModes: [ReadWriteMany]}}":                      "env.REGISTRY_HTTP_SECRET",
		"config: {storage: {s3: {bucket: b}}}":                                       "exactly one driver is needed, there are 2: filesystem, s3",
		"volume: {enabled: false}":                                                   "exactly one driver is needed, there are 0",
		"topologySpreadConstraints: [{topologyKey: a, maxSkews: 1}]":                 `unknown field "spec.template.spec.topologySpreadConstraints[0].maxSkews"`,
		"resources: {limits: {memory: much}}":                                        "quantities must match",
		"{replicas: 2, volume: {enabled: false}, config: {storage: {inmemory: {}}}}": "ReadWriteMany",
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, wrong := render(t, file); !strings.Contains(wrong, want) {
			t.Errorf("%s: expected %q to be refused, not: %s", values, want, wrong)
		}
	}
}

// The plain manifests are what the chart renders.
func TestManifests(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	program := filepath.Join(pinned.DeployTools(t), "chart")
	if output, err := exec.CommandContext(t.Context(), path("test", "deploy", "manifests"), program, folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, name := range names(t, folder) {
		want, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path("deploy", "kubernetes", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("deploy/kubernetes/%s is not what the chart renders (%v): run `make manifests`", name, err)
		}
	}
	if got, want := names(t, path("deploy", "kubernetes")), names(t, folder); !slices.Equal(got, want) {
		t.Errorf("deploy/kubernetes has %q, rendered are %q", got, want)
	}
}

// names are the YAML files of a folder.
func names(t *testing.T, folder string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		names = append(names, filepath.Base(file))
	}
	return names
}

// The chart's page has a row for each value, and a link to each example.
func TestChartPage(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(path("deploy", "helm", "registry", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values yaml.Node
	if err := yaml.Unmarshal(content, &values); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path("deploy", "helm", "registry", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys("", values.Content[0]) {
		if !strings.Contains(string(page), "| `"+key+"`") {
			t.Errorf("the chart's README has no row for %s", key)
		}
	}
	for name := range examples(t) {
		if !strings.Contains(string(page), "(examples/"+name+".yaml)") {
			t.Errorf("the chart's README has no link to examples/%s.yaml", name)
		}
	}
}

// The commands of the chart's page name files that there are.
func TestChartCommands(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`deploy/[a-z0-9./-]+`)
	found := 0
	for _, block := range documents.Read(t, "deploy/helm/registry/README.md").Blocks() {
		for _, file := range named.FindAllString(block.Text, -1) {
			found++
			if _, err := os.Stat(path(file)); err != nil {
				t.Error(err)
			}
		}
	}
	if found == 0 {
		t.Error("the chart's README shows no command")
	}
}

// keys are the paths of the values below a mapping. The registry's configuration, and what
// Kubernetes defines, are one value each.
func keys(prefix string, mapping *yaml.Node) (all []string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := prefix+mapping.Content[i].Value, mapping.Content[i+1]
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && key != "config" && key != "resources" {
			all = append(all, keys(key+".", value)...)
		} else {
			all = append(all, key)
		}
	}
	return all
}
