package mirror_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/mirror"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/registry"
)

const index = "application/vnd.oci.image.index.v1+json"

// A registry that mirrors another one, and lists what is attached to an image there.
func ExampleNew() {
	origin, stopOrigin := serve("storage: inmemory")
	defer stopOrigin()
	image := put(origin, `{"schemaVersion":2,"mediaType":"`+index+`","manifests":[]}`)
	put(origin, signatureOf(image))

	url, stop := serve(`
storage: inmemory
extensions: {mirror: {upstreams: {origin.example: {url: "` + origin + `"}}}}`)
	defer stop()
	listed, err := http.Get(url + "/v2/origin.example/app/referrers/" + image.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listed.Body.Close()
	body, err := io.ReadAll(listed.Body)
	fmt.Println(string(body), err)

	// Output:
	// {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:059917a5cd35de0655987f0d512c538ba63270c428dfe51c6f018a1cbcf1b331","size":277,"artifactType":"example/note"}]} <nil>
}

// serve serves a registry with the extension.
func serve(settings string) (url string, stop func()) {
	config, err := registry.ParseConfig([]byte("version: 0.1\nlog: {accesslog: {disabled: true}}\n" + settings))
	if err != nil {
		panic(err)
	}
	r, err := registry.New(context.Background(), config, oci.New(), mirror.New())
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(r)
	return server.URL, func() {
		server.Close()
		_ = r.Shutdown(context.Background())
	}
}

// put pushes a manifest by its digest.
func put(url, content string) digest.Digest {
	d := digest.FromString(content)
	request, err := http.NewRequest(http.MethodPut, url+"/v2/app/manifests/"+d.String(), strings.NewReader(content))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", index)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	_ = answer.Body.Close()
	return d
}
