package browse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// enabled is the configuration that serves the pages.
const enabled = "extensions: {browse: {enabled: true}}\n"

// start starts a registry with the pages.
func start(t testing.TB, config string) *harness.Registry {
	t.Helper()
	return harness.Start(t, harness.Options{Driver: harness.InMemory, Config: enabled + config})
}

// The types of what is attached in the tests.
const (
	typeCosign = "application/vnd.dev.cosign.artifact.sig.v1+json"
	typeNotary = "application/vnd.cncf.notary.signature"
	typeSPDX   = "application/spdx+json"
	typeSARIF  = "application/sarif+json"
	typeInToto = "application/vnd.in-toto+json"
	typeConfig = "application/vnd.oci.image.config.v1+json"
	typeLayer  = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// demo is a repository such as a project has: an image for two platforms with what is
// attached to it.
type demo struct {
	name      string
	index     harness.Descriptor
	amd64     harness.Descriptor
	sbom      harness.Descriptor
	sbomText  []byte
	signature harness.Descriptor
}

// newDemo pushes it.
func newDemo(c *harness.Client, name string) *demo {
	d := &demo{name: name, sbomText: []byte(`{"spdxVersion":"SPDX-2.3","name":"shop"}`)}
	base := c.PushBlob(name, []byte(strings.Repeat("base", 200_000)))
	base.MediaType = typeLayer
	var images []harness.Descriptor
	for _, architecture := range []string{"amd64", "arm64"} {
		image := c.MustPush(name, "", image(c, name, architecture, base))
		image.Platform = &harness.Platform{OS: "linux", Architecture: architecture}
		images = append(images, image)
	}
	d.amd64 = images[0]
	d.index = c.MustPush(name, "1.4.0", harness.OCIIndex(images...).
		Annotated(harness.OCICreated, "2026-11-20T10:00:00Z").
		Annotated("org.opencontainers.image.source", "https://git.example/shop"))
	c.MustPush(name, "latest", harness.OCIIndex(images...).
		Annotated(harness.OCICreated, "2026-11-20T10:00:00Z").
		Annotated("org.opencontainers.image.source", "https://git.example/shop"))
	for _, tag := range []string{"1.3.2", "1.3.1", "1.3.0"} {
		c.MustPush(name, tag, image(c, name, "amd64", base).Annotated("org.opencontainers.image.version", tag))
	}
	d.signature = d.attach(c, typeCosign, d.index, "2026-11-20T10:05:00Z", "signature.json", []byte(`{"critical":{}}`))
	d.sbom = d.attach(c, typeSPDX, d.index, "2026-11-20T10:06:00Z", "shop.spdx.json", d.sbomText)
	d.attach(c, typeNotary, d.sbom, "2026-11-20T10:07:00Z", "", []byte("signature of the SBOM"))
	d.attach(c, typeInToto, d.index, "2026-11-20T10:08:00Z", "provenance.json", []byte(`{"predicateType":"https://slsa.dev/provenance/v1"}`))
	d.attach(c, typeSARIF, d.amd64, "2026-11-21T03:00:00Z", "scan.sarif.json", []byte(`{"version":"2.1.0"}`))
	return d
}

// attach pushes an artifact with one file.
func (d *demo) attach(c *harness.Client, artifactType string, to harness.Descriptor, created, title string, content []byte) harness.Descriptor {
	file := c.PushBlob(d.name, content)
	if title != "" {
		file.Annotations = map[string]string{"org.opencontainers.image.title": title}
	}
	empty := c.PushBlob(d.name, []byte("{}"))
	empty.MediaType = "application/vnd.oci.empty.v1+json"
	return c.MustPush(d.name, "", harness.OCIImage(empty, file).Typed(artifactType).To(to).Annotated(harness.OCICreated, created))
}

// image is an image with a configuration.
func image(c *harness.Client, name, architecture string, base harness.Descriptor) harness.Manifest {
	config := c.PushBlob(name, fmt.Appendf(nil, `{
		"created": "2026-11-20T09:58:00Z", "architecture": %q, "os": "linux",
		"config": {
			"User": "65532", "WorkingDir": "/srv", "ExposedPorts": {"8080/tcp": {}},
			"Env": ["PATH=/usr/bin:/bin", "LOG_LEVEL=info"],
			"Entrypoint": ["/srv/shop", "serve"], "Cmd": ["--listen", ":8080"],
			"Labels": {"org.opencontainers.image.title": "shop", "org.opencontainers.image.licenses": "Apache-2.0"}
		},
		"rootfs": {"type": "layers", "diff_ids": []},
		"history": [
			{"created": "2026-11-01T00:00:00Z", "created_by": "COPY base / # buildkit"},
			{"created": "2026-11-20T09:58:00Z", "created_by": "COPY shop /srv/shop # buildkit", "comment": "buildkit.dockerfile.v0"},
			{"created": "2026-11-20T09:58:00Z", "created_by": "ENTRYPOINT [\"/srv/shop\" \"serve\"]", "empty_layer": true}
		]
	}`, architecture))
	config.MediaType = typeConfig
	program := c.PushBlob(name, []byte(strings.Repeat(architecture, 1_500_000)))
	program.MediaType = typeLayer
	return harness.OCIImage(config, base, program)
}
