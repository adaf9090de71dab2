package blackbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// Requests for images, blobs, tags and the catalog are answered exactly as by
// distribution's own registry.
func TestImagesAreHandledAsByDistribution(t *testing.T) {
	stock := harness.StockBinary(t)
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			ours := harness.Start(t, harness.Options{Driver: driver})
			theirs := harness.Start(t, harness.Options{Driver: driver, Binary: stock})
			got, want := record(ours.Client()), record(theirs.Client())
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("ours:\n%s\nstock:\n%s", got[i], want[i])
				}
			}
			if len(got) != len(want) || len(got) < 100 {
				t.Errorf("%d answers, %d of stock", len(got), len(want))
			}
		})
	}
}

// recorder sends requests to a registry and records the answers, without the parts that
// differ each time.
type recorder struct {
	*harness.Client
	answers []string
}

var (
	uuid   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	state  = regexp.MustCompile(`_state=[^"&]*`)
	origin = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

func (r *recorder) ask(method, path string, body []byte, headers ...string) *harness.Response {
	resp := r.Send(method, path, body, headers...)
	header := resp.Header.Clone()
	header.Del("Date")
	var lines []string
	for name, values := range header {
		lines = append(lines, name+": "+strings.Join(values, " | "))
	}
	slices.Sort(lines)
	text := fmt.Sprintf("%s %s %q\n%d\n%s\n\n%s", method, path, headers, resp.Status, strings.Join(lines, "\n"), resp.Body)
	text = uuid.ReplaceAllString(text, "UUID")
	text = state.ReplaceAllString(text, "_state=STATE")
	r.answers = append(r.answers, origin.ReplaceAllString(text, "HOST"))
	return resp
}

// record sends a registry all requests of a client of images.
func record(c *harness.Client) []string {
	r := &recorder{Client: c}
	r.ask("GET", "/v2/", nil)
	r.ask("GET", "/", nil)
	r.ask("GET", "/nothing/here", nil)
	r.ask("GET", "/v2/_catalog", nil)
	config := r.upload("team/app", []byte(`{"architecture":"amd64","os":"linux"}`))
	layer := r.upload("team/app", []byte("a layer"))
	r.blobs(layer)
	r.manifests(config, layer)
	r.lists()
	r.deletions(layer)
	return r.answers
}

// upload pushes a blob in two chunks.
func (r *recorder) upload(repository string, content []byte) harness.Descriptor {
	location := r.ask("POST", "/v2/"+repository+"/blobs/uploads/", nil).Header.Get("Location")
	half := len(content) / 2
	location = r.ask("PATCH", location, content[:half], "Content-Type: application/octet-stream",
		fmt.Sprintf("Content-Range: 0-%d", half-1)).Header.Get("Location")
	r.ask("GET", location, nil)
	location = r.ask("PATCH", location, content[half:], "Content-Type: application/octet-stream").Header.Get("Location")
	d := harness.BlobDescriptor(content)
	r.ask("PUT", location+"&digest="+url.QueryEscape(d.Digest.String()), nil)
	return d
}

func (r *recorder) blobs(layer harness.Descriptor) {
	path := harness.BlobPath("team/app", layer.Digest)
	r.ask("GET", path, nil)
	r.ask("HEAD", path, nil)
	r.ask("GET", path, nil, "Range: bytes=2-4")
	r.ask("GET", path, nil, `If-None-Match: "`+layer.Digest.String()+`"`)
	r.ask("PUT", path, nil)
	r.ask("GET", harness.BlobPath("team/other", layer.Digest), nil)
	r.ask("GET", "/v2/team/app/blobs/sha256:bad", nil)
	r.ask("POST", "/v2/team/other/blobs/uploads/?mount="+layer.Digest.String()+"&from=team/app", nil)
	r.ask("GET", harness.BlobPath("team/other", layer.Digest), nil)
	r.ask("POST", "/v2/team/other/blobs/uploads/?mount="+digest.FromString("none").String()+"&from=team/app", nil)
	r.ask("GET", "/v2/team/app/blobs/uploads/00000000-0000-0000-0000-000000000000", nil)
	location := r.ask("POST", "/v2/team/app/blobs/uploads/", nil).Header.Get("Location")
	r.ask("PUT", location+"&digest="+layer.Digest.String(), []byte("another layer"))
	location = r.ask("POST", "/v2/team/app/blobs/uploads/", nil).Header.Get("Location")
	r.ask("DELETE", location, nil)
}

func (r *recorder) manifests(config, layer harness.Descriptor) {
	ociConfig, dockerConfig := config, config
	ociConfig.MediaType, dockerConfig.MediaType = harness.MediaTypeOCIConfig, harness.MediaTypeDockerConfig
	missing := harness.BlobDescriptor([]byte("missing"))
	oci := harness.OCIImage(ociConfig, layer)
	docker := harness.DockerImage(dockerConfig, layer)
	platform := docker.Descriptor()
	platform.Platform = &harness.Platform{Architecture: "amd64", OS: "linux"}
	list := harness.DockerList(platform)
	broken := oci
	broken.MediaType = "text/plain"
	all := []harness.Manifest{
		oci, docker, harness.OCIIndex(oci.Descriptor()), list, harness.OCIImage(ociConfig, missing),
		harness.OCIIndex(missing), broken,
		{ContentType: "text/plain", Raw: []byte("{}")},
		{ContentType: harness.MediaTypeOCIImage, Raw: []byte("{")},
		{ContentType: "", Raw: []byte("{}")},
	}
	for i, m := range all {
		tag := fmt.Sprintf("v%d", i)
		r.ask("PUT", harness.ManifestPath("team/app", tag), m.Bytes(), "Content-Type: "+m.ContentType)
		r.ask("PUT", harness.ManifestPath("team/app", m.Digest().String()), m.Bytes(), "Content-Type: "+m.ContentType)
		for _, reference := range []string{tag, m.Digest().String()} {
			for _, accept := range []string{
				harness.AcceptAll, "Accept: " + harness.MediaTypeDockerManifest, "Accept: " + harness.MediaTypeDockerList,
				"Accept: " + harness.MediaTypeOCIImage, "Accept: text/html, */*",
			} {
				r.ask("GET", harness.ManifestPath("team/app", reference), nil, accept)
				r.ask("HEAD", harness.ManifestPath("team/app", reference), nil, accept)
			}
			r.ask("GET", harness.ManifestPath("team/app", reference), nil, harness.AcceptAll, "If-None-Match: "+m.Digest().String())
		}
	}
	r.ask("POST", harness.ManifestPath("team/app", "v0"), nil)
	r.ask("PUT", harness.ManifestPath("team/app", "sha256:bad"), oci.Bytes(), "Content-Type: "+oci.ContentType)
	r.ask("PUT", harness.ManifestPath("team/app", missing.Digest.String()), oci.Bytes(), "Content-Type: "+oci.ContentType)
	r.ask("PUT", harness.ManifestPath("UPPER", "v1"), oci.Bytes(), "Content-Type: "+oci.ContentType)
	r.ask("PUT", harness.ManifestPath("second/app", "v1"), harness.OCIIndex().Bytes(), "Content-Type: "+harness.MediaTypeOCIIndex)
}

func (r *recorder) lists() {
	for _, path := range []string{
		"/v2/team/app/tags/list", "/v2/team/app/tags/list?n=2", "/v2/team/app/tags/list?n=2&last=v1", "/v2/team/app/tags/list?n=-1",
		"/v2/team/app/tags/list?n=100000", "/v2/none/tags/list", "/v2/_catalog", "/v2/_catalog?n=1", "/v2/_catalog?n=1&last=second/app",
		"/v2/_catalog?n=0", "/v2/_catalog?n=x", "/v2/_catalog?n=100000",
	} {
		r.ask("GET", path, nil)
		r.ask("DELETE", path, nil)
	}
}

func (r *recorder) deletions(layer harness.Descriptor) {
	index := harness.OCIIndex().Digest().String()
	r.ask("DELETE", harness.ManifestPath("team/app", "v0"), nil) // once: of unknown tags, stock shows a path of its storage
	for range 2 {
		r.ask("DELETE", harness.ManifestPath("second/app", index), nil)
		r.ask("DELETE", harness.ManifestPath("none", index), nil)
		r.ask("DELETE", harness.ManifestPath("team/app", "sha256:bad"), nil)
		r.ask("DELETE", harness.BlobPath("team/app", layer.Digest), nil)
		r.ask("GET", harness.BlobPath("team/app", layer.Digest), nil)
	}
	r.lists()
}

// Distribution's registry works on a tree that this registry has used, and afterwards
// this registry lists everything again.
func TestStockRegistryOnTheSameTree(t *testing.T) {
	stock := harness.StockBinary(t)
	r := harness.Start(t, harness.Options{Driver: harness.SharedDriver()})
	image, kinds := everyKind(r.Client(), "app")
	for _, kind := range kinds {
		r.Client().MustPush("app", "", kind.manifest)
	}
	want := r.Client().Referrers(harness.OCI, "app", image.Digest)

	r.RestartWith(stock)
	c := r.Client()
	for _, kind := range kinds {
		if !strings.Contains(kind.manifest.ContentType, "artifact") {
			c.GetManifest("app", kind.manifest.Digest().String()).Expect(http.StatusOK).ExpectBody(kind.manifest.Bytes())
		}
	}
	equal(t, "tags", c.Tags("app"), []string{"v1"})
	c.Get("/v2/_catalog").Expect(http.StatusOK).ExpectBody([]byte("{\"repositories\":[\"app\"]}\n"))
	meanwhile := harness.OCIImage(emptyConfig(c, "app", "application/vnd.meanwhile")).To(image)
	c.MustPush("app", "", meanwhile)
	c.DeleteManifest("app", want[0].Digest)

	r.RestartWith(harness.Binary(t))
	var wanted []digest.Digest
	for _, d := range want[1:] {
		wanted = append(wanted, d.Digest)
	}
	sameDigests(t, "after the stock registry", r.Client().Referrers(harness.OCI, "app", image.Digest), append(wanted, meanwhile.Digest())...)
}
