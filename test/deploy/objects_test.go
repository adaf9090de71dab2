//go:build e2e

package deploy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// object is what the tests read of a Kubernetes object.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template    podTemplate
		JobTemplate struct {
			Spec struct{ Template podTemplate }
		} `yaml:"jobTemplate"`
		Ingress []struct {
			Ports []struct{ Port string }
			From  []any
		}
	}
}

type podTemplate struct {
	Spec struct {
		SecurityContext securityContext `yaml:"securityContext"`
		ServiceLinks    *bool           `yaml:"enableServiceLinks"`
		Token           *bool           `yaml:"automountServiceAccountToken"`
		Grace           int             `yaml:"terminationGracePeriodSeconds"`
		Containers      []container
		Volumes         []struct {
			Name      string
			EmptyDir  *struct{} `yaml:"emptyDir"`
			ConfigMap struct{ Name string }
		}
	}
}

type container struct {
	Args            []string
	Env             []struct{ Name, Value string }
	SecurityContext securityContext `yaml:"securityContext"`
	VolumeMounts    []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	ReadinessProbe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	} `yaml:"readinessProbe"`
	Resources struct{ Requests, Limits map[string]string }
}

type securityContext struct {
	NonRoot      bool  `yaml:"runAsNonRoot"`
	User         int   `yaml:"runAsUser"`
	ReadOnlyRoot bool  `yaml:"readOnlyRootFilesystem"`
	Escalation   *bool `yaml:"allowPrivilegeEscalation"`
	Capabilities struct{ Drop []string }
	Seccomp      struct{ Type string } `yaml:"seccompProfile"`
}

func decode(t *testing.T, manifests string) (all []object) {
	t.Helper()
	for decoder := yaml.NewDecoder(strings.NewReader(manifests)); ; {
		var o object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, manifests)
		}
		all = append(all, o)
	}
}

// pods are the pod templates of all objects.
func pods(objects []object) (all []podTemplate) {
	for _, o := range objects {
		for _, template := range []podTemplate{o.Spec.Template, o.Spec.JobTemplate.Spec.Template} {
			if len(template.Spec.Containers) > 0 {
				all = append(all, template)
			}
		}
	}
	return all
}

// configuration is the registry's configuration.
func configuration(t *testing.T, objects []object) string {
	t.Helper()
	for _, o := range objects {
		if text, ok := o.Data["config.yml"]; ok && o.Kind == "ConfigMap" {
			return text
		}
	}
	t.Fatal("there is no ConfigMap with config.yml")
	return ""
}

// expectSafe expects pods without privileges that write nothing but their storage and /tmp,
// replicas that get requests when they say that they are ready, no collection that asks
// nobody, and metrics and profiles that not everybody can read.
func expectSafe(t *testing.T, objects []object) {
	t.Helper()
	for _, template := range pods(objects) {
		pod, c := template.Spec, template.Spec.Containers[0]
		if !pod.SecurityContext.NonRoot || pod.SecurityContext.User == 0 || pod.SecurityContext.Seccomp.Type != "RuntimeDefault" ||
			!c.SecurityContext.ReadOnlyRoot || c.SecurityContext.Escalation == nil || *c.SecurityContext.Escalation ||
			!slices.Equal(c.SecurityContext.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("the pod has privileges: %+v", pod)
		}
		if pod.ServiceLinks == nil || *pod.ServiceLinks || pod.Token == nil || *pod.Token {
			t.Errorf("the pod gets what it does not need: %+v", pod)
		}
		for _, volume := range pod.Volumes {
			if volume.Name == "tmp" && volume.EmptyDir == nil {
				t.Errorf("/tmp is not empty: %+v", volume)
			}
		}
		if c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" {
			t.Errorf("the memory has no bounds: %+v", c.Resources)
		}
		switch c.Args[0] {
		case "serve":
			if probe := c.ReadinessProbe.HTTPGet; probe.Path != "/debug/ready" || probe.Port != "debug" {
				t.Errorf("the readiness probe asks %+v", probe)
			}
		case "garbage-collect":
			if !slices.Contains(c.Args, "--online") {
				t.Errorf("%q collects without asking the replicas", c.Args)
			}
		default:
			t.Errorf("the pod runs %q", c.Args)
		}
	}
	for _, o := range objects {
		for _, rule := range o.Spec.Ingress {
			if o.Kind == "NetworkPolicy" && rule.Ports[0].Port == "debug" && len(rule.From) == 0 {
				t.Errorf("everybody reaches metrics and profiles: %+v", rule)
			}
		}
	}
}

// expectConfigured expects the registry to accept its configuration, with the variables of
// the pods, and with the time that they have to stop.
func expectConfigured(t *testing.T, objects []object) {
	t.Helper()
	folder := t.TempDir()
	config := filepath.Join(folder, "config.yml")
	text := strings.ReplaceAll(configuration(t, objects), "/etc/registry/", folder+"/")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate := harness.NewCertificate(t)
	for _, name := range regexp.MustCompile(`/etc/registry/(\S+)`).FindAllStringSubmatch(configuration(t, objects), -1) {
		writeSecret(t, certificate, filepath.Join(folder, name[1]))
	}
	for _, template := range pods(objects) {
		pod := template.Spec
		var env []string
		for _, variable := range pod.Containers[0].Env {
			if variable.Value == "" {
				variable.Value = "c2VjcmV0" // of a Secret; base64, as Azure's driver wants it
			}
			env = append(env, variable.Name+"="+variable.Value)
		}
		if result := harness.RunWith(t, env, "config", "check", config); result.Exit != 0 {
			t.Errorf("config check: exit code %d: %s\n%s", result.Exit, result.Stderr, text)
		}
		var parsed struct {
			HTTP struct {
				DrainTimeout string `yaml:"draintimeout"`
			} `yaml:"http"`
		}
		if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
			t.Fatal(err)
		}
		var seconds int
		if _, err := fmt.Sscanf(parsed.HTTP.DrainTimeout, "%ds", &seconds); pod.Containers[0].Args[0] == "serve" && (err != nil || seconds >= pod.Grace) {
			t.Errorf("requests may take %s after SIGTERM, SIGKILL comes after %d s (%v)", parsed.HTTP.DrainTimeout, pod.Grace, err)
		}
	}
}

// writeSecret writes a file as it would be in a Secret.
func writeSecret(t *testing.T, certificate harness.Certificate, file string) {
	t.Helper()
	key, err := os.ReadFile(certificate.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	content, ok := map[string]string{
		"tls.crt":   string(certificate.PEM),
		"tls.key":   string(key),
		"htpasswd":  "user:$2y$05$abcdefghijklmnopqrstuu5s2vJ3pSjTo7lQZq3Vn2cBmXU3WJ2sK\n",
		"docker.io": "password",
		"jwks.json": `{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}`,
		"key.json": fmt.Sprintf(`{"type":"service_account","client_email":"registry@example.iam.gserviceaccount.com",`+
			`"private_key":%q,"token_uri":"https://oauth2.googleapis.com/token"}`, key),
	}[filepath.Base(file)]
	if !ok {
		t.Fatalf("the test does not know what is in %s", file)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
