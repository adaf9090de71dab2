package registry

import (
	"regexp"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage"
)

// validation is how distribution verifies manifests according to its section
// `validation`: the same options as in its own registry.
func validation(config *configuration.Configuration) (options []storage.RegistryOption) {
	if !config.Validation.Enabled && config.Validation.Disabled {
		return nil
	}
	urls := config.Validation.Manifests.URLs
	anyOf := func(patterns []string) *regexp.Regexp { return regexp.MustCompile(strings.Join(patterns, "|")) }
	if len(urls.Allow) > 0 {
		options = append(options, storage.ManifestURLsAllowRegexp(anyOf(urls.Allow)))
	}
	if len(urls.Deny) > 0 {
		options = append(options, storage.ManifestURLsDenyRegexp(anyOf(urls.Deny)))
	}
	if len(urls.Allow)+len(urls.Deny) == 0 {
		options = append(options, storage.ManifestURLsAllowRegexp(regexp.MustCompile("^$")))
	}
	indexes := config.Validation.Manifests.Indexes
	if indexes.Platforms != "none" {
		options = append(options, storage.EnableValidateImageIndexImagesExist)
	}
	if indexes.Platforms == "list" {
		for _, p := range indexes.PlatformList {
			options = append(options, storage.AddValidateImageIndexImagesExistPlatform(p.Architecture, p.OS))
		}
	}
	return options
}
