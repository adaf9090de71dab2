package registry

import (
	"strings"
	"testing"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/oras-distribution/registry/internal/config"
)

// The embedded configuration is what the README says of it.
func TestEmbeddedConfiguration(t *testing.T) {
	t.Setenv(config.PathVariable, "")
	config, err := config.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	stock := config.Stock
	if !config.Embedded || stock.HTTP.Addr != "127.0.0.1:5000" || stock.Storage.Type() != "filesystem" ||
		stock.Storage.Parameters()["rootdirectory"] != "./registry-data" || !config.DeleteEnabled() || config.ReadOnly() {
		t.Errorf("%+v", stock)
	}
}

// What distribution would panic over is an error of one line.
func TestConfigurationsThatDistributionPanicsOver(t *testing.T) {
	for name, test := range map[string]struct{ text, names string }{
		"unknown driver":     {"version: 0.1\nstorage: {floppy: {}}", "floppy"},
		"unknown middleware": {minimal + "middleware: {registry: [{name: none}]}", "none"},
		"unknown auth":       {minimal + "auth: {none-such: {}}", "none-such"},
		"no switch":          {"version: 0.1\nstorage: {inmemory: {}, maintenance: {readonly: true}}", "readonly"},
		"bad cache size":     {"version: 0.1\nstorage: {inmemory: {}, cache: {blobdescriptor: inmemory, blobdescriptorsize: x}}", "blobdescriptorsize"},
		"redis without one":  {"version: 0.1\nstorage: {inmemory: {}, cache: {blobdescriptor: redis}}", "redis"},
		"bad host":           {minimal + "http: {host: '%'}", "host"},
		"bad pattern":        {minimal + "validation: {manifests: {urls: {allow: ['(']}}}", "validation.manifests.urls.allow"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := config.Parse([]byte(test.text))
			if err == nil {
				_, err = newRegistry(config.Stock)
			}
			if err == nil || !strings.Contains(err.Error(), test.names) || strings.Contains(oneLine(err), "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDeleteSwitch(t *testing.T) {
	for text, want := range map[string]bool{"{delete: {enabled: true}, inmemory: {}}": true, "{delete: {enabled: false}, inmemory: {}}": false, "inmemory": false} {
		config, err := config.Parse([]byte("version: 0.1\nstorage: " + text))
		if err != nil {
			t.Fatal(err)
		}
		if config.DeleteEnabled() != want {
			t.Errorf("%s: deletes are enabled: %v", text, !want)
		}
	}
}
