//go:build e2e

package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// exposure is the most that systemd may say of how much the service is exposed, times ten.
// Below 2.0 it calls it OK; services that are not hardened have 9.6.
const exposure = 20

// The commands of deploy/README.md install a service that systemd accepts and calls
// hardened, and that starts the registry with a configuration that is right.
func TestSystemd(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"systemd-analyze", "systemd-sysusers", "systemctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: install it (Debian: apt-get install systemd, see test/e2e/install)", err)
		}
	}
	root := install(t)
	content, err := os.ReadFile(filepath.Join(root, "etc", "systemd", "system", "registry.service"))
	if err != nil {
		t.Fatal(err)
	}
	// Verify finds the program, and the units of this machine.
	unit := filepath.Join(t.TempDir(), "registry.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(content), "=/usr/local/", "="+root+"/usr/local/")), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, output)
	}
	security := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", fmt.Sprint("--threshold=", exposure), unit)
	if output, err := security.CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, output)
	}
	if _, err := os.Lstat(filepath.Join(root, "etc", "systemd", "system", "multi-user.target.wants", "registry.service")); err != nil {
		t.Errorf("the service is not enabled: %v", err)
	}
	users, err := os.ReadFile(filepath.Join(root, "etc", "passwd"))
	if err != nil || !strings.Contains(string(users), "registry:") || !strings.Contains(string(content), "\nUser=registry\n") {
		t.Errorf("the users are %q (%v), and the service is\n%s\nwant registry in both", users, err, content)
	}
}

// install runs the documented commands below a folder that takes the place of /.
func install(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	shell := documents.NewShell(t,
		"0755 bin/registry", "0755 "+harness.Binary(t),
		" /usr/local", " "+root+"/usr/local",
		" /etc/", " "+root+"/etc/",
		"-g registry ", "", // the group is not one of this machine
		"systemd-sysusers", "systemd-sysusers --root="+root,
		"systemctl enable --now", "systemctl --root="+root+" enable",
	)
	shell.Folder = harness.Root()
	documents.Run(t, shell, documents.Read(t, "deploy/README.md").In("With systemd"))
	return root
}
