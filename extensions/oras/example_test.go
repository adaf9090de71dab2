package oras_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/registry"
)

const (
	index = "application/vnd.oci.image.index.v1+json"
	image = `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[]}`
)

// An ORAS artifact manifest, attached to an image and listed.
func ExampleNew() {
	config, err := registry.ParseConfig([]byte("version: 0.1\nlog: {accesslog: {disabled: true}}\nstorage: inmemory\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := registry.New(context.Background(), config, oras.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = r.Shutdown(context.Background()) }()
	server := httptest.NewServer(r)
	defer server.Close()

	const mediaType = "application/vnd.cncf.oras.artifact.manifest.v1+json"
	put(server.URL, index, image)
	put(server.URL, mediaType, fmt.Sprintf(`{"mediaType":%q,"artifactType":"example/note","subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		mediaType, index, digest.FromString(image), len(image)))
	listed, err := http.Get(server.URL + "/v2/app/_oras/artifacts/referrers?digest=" + digest.FromString(image).String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listed.Body.Close()
	body, err := io.ReadAll(listed.Body)
	fmt.Println(listed.Header.Get("ORAS-Api-Version"), string(body), err)

	// Output:
	// oras/1.0 {"referrers":[{"mediaType":"application/vnd.cncf.oras.artifact.manifest.v1+json","digest":"sha256:0c25aba828d4862570e0e2a6d805c5094836a61062bc3876d76624d021f06a9a","size":256,"artifactType":"example/note"}]} <nil>
}

// put pushes a manifest by its digest, and returns the headers of the answer.
func put(url, mediaType, content string) http.Header {
	request, err := http.NewRequest(http.MethodPut, url+"/v2/app/manifests/"+digest.FromString(content).String(), strings.NewReader(content))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", mediaType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	return answer.Header
}
