package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/registry"
)

// A configuration is distribution's, with a section for the extensions.
func ExampleParseConfig() {
	config, err := registry.ParseConfig([]byte("version: 0.1\nstorage: {filesystem: {rootdirectory: data}}\nhttp: {addr: 'localhost:5000'}\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.Stock.Storage.Type(), config.Stock.HTTP.Addr, config.DeleteEnabled())
	_, err = registry.ParseConfig([]byte("version: 0.1\n"))
	fmt.Println(err)

	// Output:
	// filesystem localhost:5000 false
	// no storage configuration provided
}

// A mistake in a configuration is an error, and the registry is a handler.
func ExampleNew() {
	for _, section := range []string{"extensions: {oras: {enable: true}}", "extensions: {oras: {enabled: false}}"} {
		config, err := registry.ParseConfig([]byte("version: 0.1\nlog: {accesslog: {disabled: true}}\nstorage: inmemory\n" + section))
		if err != nil {
			fmt.Println(err)
			continue
		}
		r, err := registry.New(context.Background(), config, oras.New(), oci.New())
		if err != nil {
			fmt.Println(err)
			continue
		}
		answer := httptest.NewRecorder()
		r.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/v2/", nil))
		fmt.Println(answer.Code, answer.Body)
		if err := r.Shutdown(context.Background()); err != nil {
			fmt.Println(err)
		}
	}

	// Output:
	// extensions.oras.enable: unknown key
	// 200 {}
}
