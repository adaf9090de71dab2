package namespace

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/ocischema"
	"github.com/distribution/distribution/v3/manifest/schema2"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/manifest"
)

// URLs says from which URLs the layers of an image may be fetched, as in distribution's
// section `validation.manifests.urls`. Where that is empty, layers that the registry need
// not have may come from anywhere, and others have no URLs.
type URLs struct{ allow, deny *regexp.Regexp }

// NewURLs takes the lists of regular expressions from the configuration.
func NewURLs(allow, deny []string) (*URLs, error) {
	var urls URLs
	for key, list := range map[string]struct {
		patterns []string
		compiled **regexp.Regexp
	}{"allow": {allow, &urls.allow}, "deny": {deny, &urls.deny}} {
		if len(list.patterns) == 0 {
			continue
		}
		var err error
		if *list.compiled, err = regexp.Compile("(?:" + strings.Join(list.patterns, ")|(?:") + ")"); err != nil {
			return nil, fmt.Errorf("validation.manifests.urls.%s: %w", key, err)
		}
	}
	return &urls, nil
}

// allowed reports whether a layer may be fetched from a URL. Without rules that is
// every URL.
func (u *URLs) allowed(from string, anywhere bool) bool {
	parsed, err := url.Parse(from)
	switch {
	case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Fragment != "":
		return false
	case u == nil:
		return true
	case u.allow == nil && u.deny == nil:
		return anywhere
	}
	return (u.allow == nil || u.allow.MatchString(from)) && (u.deny == nil || !u.deny.MatchString(from))
}

// check finds what is wrong with a manifest of distribution's own types that
// distribution would report as a failure of its own, or store and then not serve. It
// returns what distribution is to verify and store: the same bytes, without references
// to layers that the registry need not have.
func (u *URLs) check(pushed distribution.Manifest) (distribution.Manifest, manifest.Problems) {
	var problems manifest.Problems
	switch m := pushed.(type) {
	case *ocischema.DeserializedManifest:
		checked := *m
		checked.Layers = u.layers(&problems, m.SchemaVersion, m.Config, m.Layers)
		return &checked, problems
	case *schema2.DeserializedManifest:
		checked := *m
		checked.Layers = u.layers(&problems, m.SchemaVersion, m.Config, m.Layers)
		return &checked, problems
	case *ocischema.DeserializedImageIndex:
		if m.MediaType != "" && m.MediaType != v1.MediaTypeImageIndex {
			problems.Add("mediaType", "must be %s", v1.MediaTypeImageIndex)
		}
		checkVersion(&problems, m.SchemaVersion)
		checkDigests(&problems, "manifests", m.Manifests)
		checked := *m
		checked.Manifests = withPlatforms(m.Manifests)
		return &checked, problems
	case *manifestlist.DeserializedManifestList:
		checkVersion(&problems, m.SchemaVersion)
		checkDigests(&problems, "manifests", m.References())
	}
	return pushed, problems
}

// withPlatforms gives entries of an index that name no platform one without values:
// where only images of some platforms have to exist, distribution compares them all.
func withPlatforms(list []v1.Descriptor) []v1.Descriptor {
	list = slices.Clone(list)
	for i := range list {
		if list[i].Platform == nil {
			list[i].Platform = new(v1.Platform)
		}
	}
	return list
}

// layers checks an image, and returns its layers that the registry must have.
func (u *URLs) layers(problems *manifest.Problems, version int, config v1.Descriptor, layers []v1.Descriptor) []v1.Descriptor {
	checkVersion(problems, version)
	if err := config.Digest.Validate(); err != nil {
		problems.Add("config.digest", "%v", err)
	}
	checkDigests(problems, "layers", layers)
	for i, layer := range layers {
		anywhere := nonDistributable(layer.MediaType)
		if !anywhere && !ruled(layer.MediaType) {
			continue
		}
		for j, from := range layer.URLs {
			if !u.allowed(from, anywhere) {
				problems.Add(fmt.Sprintf("layers[%d].urls[%d]", i, j), "the URL is not allowed")
			}
		}
		if layer.MediaType == schema2.MediaTypeForeignLayer && len(layer.URLs) == 0 {
			problems.Add(fmt.Sprintf("layers[%d].urls", i), "is missing")
		}
	}
	return slices.DeleteFunc(slices.Clone(layers), func(layer v1.Descriptor) bool {
		return nonDistributable(layer.MediaType) && len(layer.URLs) > 0
	})
}

// nonDistributable reports whether a layer of this type need not be in the registry.
func nonDistributable(mediaType string) bool {
	return mediaType == schema2.MediaTypeForeignLayer || strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.")
}

// ruled reports whether distribution has rules for the URLs of ordinary layers of this type.
func ruled(mediaType string) bool {
	return mediaType == v1.MediaTypeImageLayer || mediaType == v1.MediaTypeImageLayerGzip
}

func checkVersion(problems *manifest.Problems, version int) {
	if version != 2 {
		problems.Add("schemaVersion", "must be 2")
	}
}

func checkDigests(problems *manifest.Problems, member string, list []v1.Descriptor) {
	for i, desc := range list {
		if err := desc.Digest.Validate(); err != nil {
			problems.Add(fmt.Sprintf("%s[%d].digest", member, i), "%v", err)
		}
	}
}
