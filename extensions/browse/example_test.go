package browse_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/extensions/browse"
	"github.com/oras-distribution/registry/registry"
)

// The pages of a registry with one tag.
func ExampleNew() {
	config, err := registry.ParseConfig([]byte("version: 0.1\nlog: {accesslog: {disabled: true}}\nstorage: inmemory\nextensions: {browse: {enabled: true}}\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := registry.New(context.Background(), config, browse.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = r.Shutdown(context.Background()) }()
	server := httptest.NewServer(r)
	defer server.Close()

	const index = "application/vnd.oci.image.index.v1+json"
	send(http.MethodPut, server.URL+"/v2/team/app/manifests/v1", index, `{"schemaVersion":2,"mediaType":"`+index+`","manifests":[]}`)
	for _, path := range []string{"/ui/", "/ui/tags/team/app", "/ui/image/team/app/v1", "/ui/image/team/app/v2"} {
		page := send(http.MethodGet, server.URL+path, "", "")
		_, title, _ := strings.Cut(page, "<title>")
		title, _, _ = strings.Cut(title, " ·")
		fmt.Println(path, "-", title)
	}

	// Output:
	// /ui/ - Repositories
	// /ui/tags/team/app - team/app
	// /ui/image/team/app/v1 - team/app:v1
	// /ui/image/team/app/v2 - There is no such image
}

// send sends a request and returns the body of the answer.
func send(method, url, contentType, content string) string {
	request, err := http.NewRequest(method, url, strings.NewReader(content))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	return string(body)
}
