//go:build e2e

package interop_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// legacyFormat makes cosign write signatures to tags, as it did before there was an API.
var legacyFormat = []string{"--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"}

// mirrored is what clients are asked about an image at a registry, and answer there.
type mirrored struct {
	*workspace
	image  digest.Digest
	prefix string // of the names of repositories
	origin string // where it was signed
}

// ask runs every client that reads, and returns what each answers, in any order of lines and
// without the address of the registry.
func (m mirrored) ask(layout string) map[string]string {
	m.t.Helper()
	tag, subject := m.ref(m.prefix+"app:v1"), m.ref(m.prefix+"app@"+m.image.String())
	m.regctlSetup()
	m.run("oras", "copy", "-r", "--from-plain-http", "--to-oci-layout", tag, layout+":v1")
	var copied orasNode
	m.runJSON(&copied, "oras", "discover", "--format", "json", "--oci-layout", layout+":v1")
	m.run("crane", "pull", "--format", "oci", tag, layout+"-crane")
	answers := map[string]string{
		"cosign verify":             m.run(cosignVerify("mine", subject)...),
		"cosign verify, OCI 1.1":    m.runWith(experimental, append(cosignVerify("mine", subject), oldFormatVerify...)...),
		"cosign verify, tags":       m.run(append(cosignVerify("mine", subject), "--new-bundle-format=false")...),
		"cosign verify-attestation": m.run(cosignVerifyAttestation("mine", subject)...),
		"cosign verify, other key":  errorLine(m.fails(cosignVerify("theirs", subject)...)),
		"notation verify":           m.run("notation", "verify", "mine", subject),
		"notation list":             m.run("notation", "list", subject),
		"oras discover":             joined(m.orasDiscover(m.prefix + "app:v1").all()),
		"oras copy":                 joined(copied.all()),
		"regctl artifact tree":      m.run("regctl", "artifact", "tree", tag),
		"crane manifest":            m.run("crane", "manifest", tag),
		"crane digest":              m.run("crane", "digest", tag),
	}
	plain := strings.NewReplacer(m.ref(m.prefix), "REGISTRY/", m.origin+"/", "REGISTRY/", `,{"critical"`, "\n"+`{"critical"`)
	for name, answer := range answers {
		lines := strings.Split(plain.Replace(strings.Trim(answer, "[]")), "\n")
		slices.Sort(lines)
		answers[name] = strings.Join(lines, "\n")
	}
	return answers
}

// errorLine is the last line of an error of cosign.
func errorLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func joined(digests []digest.Digest) string {
	slices.Sort(digests)
	var lines []string
	for _, d := range digests {
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n")
}

// Clients that verify and discover get the same answers through a mirror, or a pull-through cache
// of distribution's, as at its origin, with and without an API for referrers there, and still when the origin is gone.
func TestClientsThroughAMirror(t *testing.T) {
	t.Parallel()
	for name, binary := range map[string]string{"this registry": "", "distribution": harness.StockBinary(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t, harness.Options{Binary: binary})
			w.cosignSetup()
			image := w.image("app:v1")
			subject := w.ref("app@" + image.String())
			sbom := w.orasAttach("app:v1", "application/vnd.example.sbom", "sbom.json")
			w.orasAttach("app@"+sbom.String(), "application/vnd.example.signature", "note.txt")
			w.run(cosignSign("mine", subject)...)
			w.run(cosignAttest("mine", subject)...)
			w.runWith(experimental, append([]string{"cosign", "sign", "--yes", "--key", "mine/cosign.key", subject}, oldFormat...)...)
			w.run(append([]string{"cosign", "sign", "--yes", "--key", "mine/cosign.key", subject}, legacyFormat...)...)
			w.run("notation", "generate", "mine")
			w.run("notation", "sign", "mine", subject)

			there := mirrored{w, image, "", w.Addr}.ask("there")
			through := func(config, prefix string) mirrored {
				other := *w
				other.Registry = harness.Start(t, harness.Options{Config: harness.Configf(config, w.URL)})
				return mirrored{&other, image, prefix, w.Addr}
			}
			ways := map[string]mirrored{
				"mirror": through("extensions: {mirror: {upstreams: {origin: {url: %s, ttl: 0s}}}}", "origin/"),
				"cache":  through("proxy: {remoteurl: %s}", ""),
			}
			same := func(when string) {
				t.Helper()
				for way, here := range ways {
					for client, answer := range here.ask(way + "-" + strings.ReplaceAll(when, " ", "-")) {
						if answer != there[client] || answer == "" && client != "notation verify" {
							t.Errorf("%s through a %s, %s: the answer is\n%s\nand at the origin\n%s", client, way, when, answer, there[client])
						}
					}
				}
			}
			same("cold")
			same("warm")
			_ = w.Stop()
			same("without the origin")
		})
	}
}
