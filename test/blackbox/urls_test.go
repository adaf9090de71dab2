package blackbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

const (
	ociLayer        = "application/vnd.oci.image.layer.v1.tar+gzip"
	undistributable = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	foreignLayer    = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	dockerImage     = "application/vnd.docker.distribution.manifest.v2+json"
	ociImage        = "application/vnd.oci.image.manifest.v1+json"
)

// pushLayer pushes an image with one layer, which is fetched from a URL.
func pushLayer(c *harness.Client, imageType, layerType string, layer digest.Digest, url string) *harness.Response {
	config := c.PushBlob("app", []byte("{}"))
	urls := ""
	if url != "" {
		urls = fmt.Sprintf(`,"urls":[%q]`, url)
	}
	content := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":%q,"digest":%q,"size":5%s}]}`, imageType, config.Digest, layerType, layer, urls)
	return c.PutManifest("app", "layers", imageType, []byte(content))
}

// A layer that is not distributed need not be in the registry. Where it and others may be
// fetched from is what the configuration says.
func TestURLsOfLayers(t *testing.T) {
	const good, bad = "https://good.example/layer", "https://bad.example/layer"
	const allow, deny = "validation: {manifests: {urls: {allow: ['^https://good']}}}", "validation: {manifests: {urls: {deny: ['^https://bad']}}}"
	const off = "validation: {disabled: true}"
	registries := map[string]*harness.Client{}
	for _, config := range []string{"", allow, deny, off} {
		registries[config] = harness.Start(t, harness.Options{Driver: harness.InMemory, Config: config}).Client()
	}
	for i, test := range []struct {
		config, imageType, layerType, url string
		there                             bool
		problem                           string // the field that is refused
	}{
		{"", ociImage, undistributable, good, false, ""},
		{"", ociImage, undistributable + "+gzip", good, false, ""},
		{"", ociImage, undistributable + "+zstd", good, false, ""},
		{"", ociImage, undistributable, good, true, ""},
		{"", ociImage, undistributable, "http://good.example", false, ""},
		{"", ociImage, undistributable, "ftp://good.example", false, "layers[0].urls[0]"},
		{"", ociImage, undistributable, good + "#fragment", false, "layers[0].urls[0]"},
		{"", ociImage, undistributable, "https://%", false, "layers[0].urls[0]"},
		{"", ociImage, undistributable, "", false, "missing"},
		{"", ociImage, undistributable, "", true, ""},
		{"", ociImage, ociLayer, good, true, "layers[0].urls[0]"},
		{"", ociImage, ociLayer, "", true, ""},
		{"", dockerImage, foreignLayer, good, false, ""},
		{"", dockerImage, foreignLayer, "file:///etc/passwd", false, "layers[0].urls[0]"},
		{"", dockerImage, foreignLayer, "", true, "layers[0].urls"},
		{allow, ociImage, undistributable, good, false, ""},
		{allow, ociImage, undistributable, bad, false, "layers[0].urls[0]"},
		{allow, ociImage, ociLayer, good, true, ""},
		{allow, ociImage, ociLayer, good, false, "missing"},
		{allow, ociImage, ociLayer, bad, true, "layers[0].urls[0]"},
		{allow, dockerImage, foreignLayer, bad, false, "layers[0].urls[0]"},
		{deny, ociImage, undistributable, good, false, ""},
		{deny, ociImage, undistributable, bad, false, "layers[0].urls[0]"},
		{deny, ociImage, ociLayer, good, true, ""},
		{off, ociImage, undistributable, bad, false, ""},
		{off, ociImage, ociLayer, bad, true, ""},
	} {
		t.Run(strings.Join([]string{test.config, test.layerType, test.url, fmt.Sprint(test.there)}, " "), func(t *testing.T) {
			c := registries[test.config].For(t)
			content := fmt.Sprintf("layer %d", i)
			layer := digest.FromString(content)
			if test.there {
				c.PushBlob("app", []byte(content))
			}
			answer := pushLayer(c, test.imageType, test.layerType, layer, test.url)
			switch test.problem {
			case "":
				answer.Expect(http.StatusCreated)
				c.GetManifest("app", "layers").Expect(http.StatusOK)
			case "missing":
				answer.ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			default:
				answer.ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
				if problems := answer.Problems(); len(problems) != 1 || problems[0].Field != test.problem {
					t.Errorf("the problems are %+v", problems)
				}
			}
		})
	}
}

// What distribution would answer with 500, or store and then not serve, is refused.
func TestManifestsThatDistributionDoesNotRefuse(t *testing.T) {
	const index, list = "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"
	bad := map[string]string{
		"another algorithm": "md5:d41d8cd98f00b204e9800998ecf8427e", "too short": "sha256:aa", "no digest": "aa", "none": "",
		"no hex": "sha256:" + strings.Repeat("g", 64), "climbing": "sha256:../../../../x",
	}
	c := harness.Start(t, harness.Options{}).Client()
	config := c.PushBlob("app", []byte("{}"))
	for name, d := range bad {
		t.Run(name, func(t *testing.T) {
			c := c.For(t)
			desc := fmt.Sprintf(`{"mediaType":"application/json","digest":%q,"size":2,"platform":{"architecture":"amd64","os":"linux"}}`, d)
			for _, kind := range []string{ociImage, dockerImage} {
				c.PutManifest("app", "bad", kind, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[]}`, kind, desc)).
					ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
				c.PutManifest("app", "bad", kind, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/json","digest":%q,"size":2},"layers":[%s]}`, kind, config.Digest, desc)).
					ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
			}
			for _, kind := range []string{index, list} {
				c.PutManifest("app", "bad", kind, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, kind, desc)).
					ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
			}
		})
	}
	for _, version := range []int{-1, 0, 1, 3} {
		for _, kind := range []string{ociImage, dockerImage, index, list} {
			c.PutManifest("app", "bad", kind, fmt.Appendf(nil, `{"schemaVersion":%d,"mediaType":%q,"config":{"mediaType":"application/json","digest":%q,"size":2},"layers":[],"manifests":[]}`, version, kind, config.Digest)).
				Expect(http.StatusBadRequest)
			c.PutManifest("app", "bad", kind, fmt.Appendf(nil, `{"schemaVersion":%d,"mediaType":%q,"manifests":[]}`, version, kind)).
				Expect(http.StatusBadRequest)
		}
	}
	for _, kind := range []string{index, list, ociImage, dockerImage} {
		c.PutManifest("app", "bad", kind, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.example","manifests":[]}`)).Expect(http.StatusBadRequest)
	}
	c.GetManifest("app", "bad").ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
}

// Where only images of some platforms have to be there, those of others need not, and
// neither need entries of an index without a platform.
func TestPlatformsThatHaveToBeThere(t *testing.T) {
	c := harness.Start(t, harness.Options{Driver: harness.InMemory, Config: "validation: {manifests: {indexes: {" +
		"platforms: list, platformlist: [{architecture: amd64, os: linux}]}}}"}).Client()
	for platform, status := range map[string]int{
		"": http.StatusCreated,
		`,"platform":{"architecture":"arm64","os":"linux"}`: http.StatusCreated,
		`,"platform":{"architecture":"amd64","os":"linux"}`: http.StatusBadRequest,
	} {
		c.PutManifest("app", "index", "application/vnd.oci.image.index.v1+json", fmt.Appendf(nil,
			`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":7%s}]}`, ociImage, digest.FromString("nowhere"), platform)).Expect(status)
	}
}
