package oci_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/registry"
)

const (
	index = "application/vnd.oci.image.index.v1+json"
	image = `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[]}`
)

// A manifest with a subject, and the listing of OCI 1.1.
func ExampleNew() {
	config, err := registry.ParseConfig([]byte("version: 0.1\nlog: {accesslog: {disabled: true}}\nstorage: inmemory\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := registry.New(context.Background(), config, oci.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = r.Shutdown(context.Background()) }()
	server := httptest.NewServer(r)
	defer server.Close()

	put(server.URL, index, image)
	header := put(server.URL, index, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"example/note","manifests":[],"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		index, index, digest.FromString(image), len(image)))
	fmt.Println("OCI-Subject:", header.Get("OCI-Subject"))
	listed, err := http.Get(server.URL + "/v2/app/referrers/" + digest.FromString(image).String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listed.Body.Close()
	body, err := io.ReadAll(listed.Body)
	fmt.Println(string(body), err)

	// Output:
	// OCI-Subject: sha256:dff9de10919148711140d349bf03f1a99eb06f94b03e51715ccebfa7cdc518e2
	// {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:059917a5cd35de0655987f0d512c538ba63270c428dfe51c6f018a1cbcf1b331","size":277,"artifactType":"example/note"}]} <nil>
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
