package registry

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/referrers"
)

// extended is a list of extensions with their configuration applied.
type extended struct {
	enabled  []extensions.Extension
	types    *manifest.Types   // of all extensions: stored manifests of disabled ones stay readable
	disabled map[string]string // media types of disabled extensions, with the key that disables them
	markers  []extensions.Marker
	index    referrers.Options
}

// extend configures each extension with its section, and reads the section of the
// index, which they share. A key that nobody has read is an error.
func extend(config *config.Config, list []extensions.Extension) (*extended, error) {
	root, err := extensions.NewSection("extensions", config.Extensions)
	if err != nil {
		return nil, err
	}
	x := &extended{disabled: map[string]string{}}
	var types []manifest.Type
	for i, e := range list {
		if err := checkName(e.Name(), list[:i]); err != nil {
			return nil, err
		}
		enabled, err := configure(root, e)
		if err != nil {
			return nil, err
		}
		if enabled {
			x.enabled = append(x.enabled, e)
		}
		if typer, ok := e.(extensions.ManifestTyper); ok {
			for _, kind := range typer.ManifestTypes() {
				if err := checkType(kind, types); err != nil {
					return nil, fmt.Errorf("extension %s: %w", e.Name(), err)
				}
				types = append(types, kind)
				if !enabled {
					x.disabled[kind.MediaType] = "extensions." + e.Name() + ".enabled"
				}
			}
		}
		if marker, ok := e.(extensions.Marker); ok {
			x.markers = append(x.markers, marker)
		}
	}
	x.types = manifest.NewTypes(types...)
	if x.index, err = indexOptions(root, config); err != nil {
		return nil, err
	}
	x.index.Types = x.types
	x.index.Unlisted = func(mediaType string) bool { return x.disabled[mediaType] != "" }
	return x, root.Decode(&struct{}{})
}

// checkName refuses a name that cannot be the key of an extension's section.
func checkName(name string, before []extensions.Extension) error {
	taken := slices.ContainsFunc(before, func(e extensions.Extension) bool { return e.Name() == name })
	if name == "" || name == indexSection || taken {
		return fmt.Errorf("an extension cannot have the name %q: it is empty or taken", name)
	}
	return nil
}

// checkType refuses a manifest type that another one stands for.
func checkType(kind manifest.Type, before []manifest.Type) error {
	if _, taken := manifest.NewTypes(before...).Of(kind.MediaType); taken || kind.MediaType == "" {
		return fmt.Errorf("a manifest type cannot have the media type %q: it is empty or taken", kind.MediaType)
	}
	return nil
}

// indexSection is the key of the index's section.
const indexSection = "referrers"

// configure configures an extension with its section, and reports whether it is enabled.
func configure(root extensions.Section, e extensions.Extension) (enabled bool, err error) {
	section, err := root.Take(e.Name())
	if err != nil {
		return false, err
	}
	if enabled, err = section.Enabled(); err != nil {
		return false, err
	}
	if configurer, ok := e.(extensions.Configurer); ok {
		return enabled, configurer.Configure(section)
	}
	return enabled, section.Decode(&struct{}{})
}

// indexOptions reads the section of the index.
func indexOptions(root extensions.Section, config *config.Config) (options referrers.Options, err error) {
	section, err := root.Take(indexSection)
	if err != nil {
		return options, err
	}
	keys := struct {
		CacheSize      int           `yaml:"cachesize"`
		Concurrency    int           `yaml:"concurrency"`
		Wait           time.Duration `yaml:"wait"`
		Background     bool          `yaml:"background"`
		MaxAnnotations int           `yaml:"maxannotations"`
	}{
		referrers.DefaultCacheSize, referrers.DefaultConcurrency, referrers.DefaultWait, true, referrers.DefaultMaxAnnotations,
	}
	if err := section.Decode(&keys); err != nil {
		return options, err
	}
	for key, value := range map[string]int{
		"cachesize": keys.CacheSize, "concurrency": keys.Concurrency, "maxannotations": keys.MaxAnnotations,
	} {
		err = errors.Join(err, atLeastOne(section, key, value))
	}
	return referrers.Options{
		CacheSize: keys.CacheSize, Concurrency: keys.Concurrency, Wait: keys.Wait,
		Background: keys.Background, MaxAnnotations: keys.MaxAnnotations, ReadOnly: config.ReadOnly(),
	}, err
}

func atLeastOne(section extensions.Section, key string, value int) error {
	if value < 1 {
		return section.Errorf(key, "must be at least 1, not %d", value)
	}
	return nil
}

// reach returns what a stored manifest reaches, for the collector: the references of
// its type, and what the extensions mark.
func (x *extended) reach(content []byte) ([]manifest.Reached, digest.Digest, error) {
	references, subject, err := x.types.Reach(content)
	if err != nil {
		return nil, "", err
	}
	for _, marker := range x.markers {
		more, err := marker.Mark(content)
		if err != nil {
			return nil, "", fmt.Errorf("marking what the manifest needs: %w", err)
		}
		for _, d := range more {
			if err := d.Validate(); err != nil {
				return nil, "", fmt.Errorf("marking what it needs: %q: %w", d, err)
			}
			references = append(references, manifest.Reached{Digest: d})
		}
	}
	return references, subject, nil
}

// routes returns the routes of the enabled extensions.
func (x *extended) routes(lister extensions.Lister) (routes []extensions.Route) {
	services := extensions.Services{Referrers: lister, Descriptions: []extensions.Description{}}
	for _, e := range x.enabled {
		if d, ok := e.(extensions.Describer); ok {
			services.Descriptions = append(services.Descriptions, d.Descriptions()...)
		}
	}
	for _, e := range x.enabled {
		if r, ok := e.(extensions.Router); ok {
			routes = append(routes, r.Routes(services)...)
		}
	}
	return routes
}
