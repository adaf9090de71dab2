package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/registry"
)

// scans is an extension for the reports of vulnerability scanners.
type scans struct{ newestFirst bool }

// Name is the extension's key in the configuration.
func (*scans) Name() string { return "scans" }

// Configure reads the keys below extensions.scans.
func (s *scans) Configure(section extensions.Section) error {
	keys := struct {
		Order string `yaml:"order"`
	}{Order: "newest"}
	if err := section.Decode(&keys); err != nil {
		return err
	}
	if keys.Order != "newest" && keys.Order != "oldest" {
		return section.Errorf("order", "must be newest or oldest, not %q", keys.Order)
	}
	s.newestFirst = keys.Order == "newest"
	return nil
}

// report is a manifest that lists the files of a report, and names the image that
// was scanned as its subject.
var report = extensions.ManifestType{
	MediaType:         "application/vnd.example.scan-report.v1+json",
	References:        []string{"reports[]"},
	CreatedAnnotation: "com.example.scan.created",
}

// ManifestTypes makes the registry accept reports.
func (*scans) ManifestTypes() []extensions.ManifestType {
	return []extensions.ManifestType{report}
}

// Mark makes the garbage collector keep the earlier report that a report is
// compared with.
func (*scans) Mark(content []byte) ([]digest.Digest, error) {
	var manifest struct {
		MediaType   string            `json:"mediaType"`
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(content, &manifest) != nil || manifest.MediaType != report.MediaType {
		return nil, nil // another type of manifest
	}
	baseline := digest.Digest(manifest.Annotations["com.example.scan.baseline"])
	if baseline.Validate() != nil {
		return nil, nil
	}
	return []digest.Digest{baseline}, nil
}

// Routes adds a route that lists the reports on an image.
func (s *scans) Routes(services extensions.Services) []extensions.Route {
	listing := extensions.Listing{
		Name:        "scans",
		ContentType: "application/json",
		Head:        `{"reports":[`,
		Tail:        "]}",
		Includes:    func(r *extensions.Referrer) bool { return r.MediaType == report.MediaType },
		Position:    s.position,
	}
	return []extensions.Route{{
		Name: "scans_reports",
		Path: "/scans/v1/{name}/reports/{reference}",
		Serve: func(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
			return listing.Serve(w, r, services.Referrers, target.Repository.Name(), target.Reference)
		},
	}}
}

// position is where a report stands in the listing.
func (s *scans) position(r *extensions.Referrer) extensions.Position {
	switch {
	case r.TypeCreated.IsZero():
		return extensions.Undated()
	case s.newestFirst:
		return extensions.NewestFirst(r.TypeCreated)
	}
	return extensions.OldestFirst(r.TypeCreated)
}

// A registry with an extension of its own, which brings a manifest type, a route,
// a configuration key, and a rule for the garbage collector.
func Example() {
	config, err := registry.ParseConfig([]byte(`
version: 0.1
log: {accesslog: {disabled: true}}
storage: {inmemory: {}}
extensions: {scans: {order: oldest}}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := registry.New(context.Background(), config, oci.New(), new(scans))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = r.Shutdown(context.Background()) }()
	server := httptest.NewServer(r)
	defer server.Close()

	const findings = `{"critical":0}`
	image := digest.FromString("the manifest of an image")
	manifest := fmt.Sprintf(`{
		"mediaType": %q,
		"reports": [{"mediaType": "application/json", "digest": %q, "size": %d}],
		"subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": %q, "size": 24}
	}`, report.MediaType, digest.FromString(findings), len(findings), image)
	path := server.URL + "/v2/app/manifests/" + digest.FromString(manifest).String()

	_, answer := send(http.MethodPut, path, report.MediaType, manifest)
	fmt.Println(answer) // its file is missing
	location, _ := send(http.MethodPost, server.URL+"/v2/app/blobs/uploads/", "", "")
	send(http.MethodPut, location+"&digest="+digest.FromString(findings).String(), "application/octet-stream", findings)
	_, answer = send(http.MethodPut, path, report.MediaType, manifest)
	fmt.Println(answer)
	_, answer = send(http.MethodGet, server.URL+"/scans/v1/app/reports/"+image.String(), "", "")
	fmt.Println(answer)

	// Output:
	// 400 Bad Request {"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry","detail":[{"field":"reports[0]","reason":"not in this repository","missing":"sha256:7957c8db9cdcb9c21b9f28f3a2096bd7fe32a8bb800474ac0b5cda759b4ab47b"}]}]}
	// 201 Created
	// 200 OK {"reports":[{"mediaType":"application/vnd.example.scan-report.v1+json","digest":"sha256:bb2cb32cfeff08c51092a7b32d9f6bfbd94b64c5b4b39f36d25fcc42b2788dbc","size":383}]}
}

// send sends a request. It returns the header Location of the answer, and its
// status and body.
func send(method, url, contentType, body string) (location, answer string) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		panic(err)
	}
	return response.Header.Get("Location"), strings.TrimSpace(response.Status + " " + string(content))
}
