package registry

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/internal/retention"
)

// extended is a list of extensions with their configuration applied.
type extended struct {
	enabled  []extensions.Extension
	types    *manifest.Types   // of all extensions: stored manifests of disabled ones stay readable
	disabled map[string]string // media types of disabled extensions, with the key that disables them
	markers  []extensions.Marker
	index    referrers.Options
	rules    *retention.Rules

	collection collection.Settings
}

// extend configures each extension with its section, and reads the sections that are not
// of an extension: of the index, which they share, and of retention. A key that nobody has
// read is an error.
func extend(config *config.Config, list []extensions.Extension) (*extended, error) {
	root, err := extensions.NewSection("extensions", config.Extensions)
	if err != nil {
		return nil, err
	}
	x := &extended{disabled: map[string]string{}}
	var types []manifest.Type
	var wrong error // all of it, so that it can be put right at once
	for i, e := range list {
		if err := checkName(e.Name(), list[:i]); err != nil {
			return nil, err
		}
		enabled, err := configure(root, e)
		wrong = errors.Join(wrong, err)
		if enabled {
			x.enabled = append(x.enabled, e)
			if checker, ok := e.(extensions.Checker); ok {
				wrong = errors.Join(wrong, checker.Check(extensions.Kind{ReadOnly: config.ReadOnly(), Cache: config.IsProxy()}))
			}
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
	x.index, err = indexOptions(root)
	rules, rulesErr := retentionRules(root)
	x.rules = rules
	wrong = errors.Join(wrong, err, rulesErr)
	x.collection, err = collectionSettings(root)
	if wrong = errors.Join(wrong, err, root.Decode(&struct{}{})); wrong != nil {
		return nil, wrong
	}
	x.index.Types = x.types
	x.index.Unlisted = func(mediaType string) bool { return x.disabled[mediaType] != "" }
	return x, nil
}

// inEffect is the section `extensions:` with the keys that everyone has, defaults
// included.
func (x *extended) inEffect(given any, list []extensions.Extension) map[string]any {
	sections := map[string]any{}
	section := func(name string, values map[string]any) {
		found, _ := given.(map[string]any)
		keys := map[string]any{}
		if below, ok := found[name].(map[string]any); ok {
			maps.Copy(keys, below)
		}
		maps.Copy(keys, values)
		sections[name] = keys
	}
	for _, e := range list {
		section(e.Name(), map[string]any{"enabled": slices.ContainsFunc(x.enabled, func(on extensions.Extension) bool { return on.Name() == e.Name() })})
	}
	section(indexSection, map[string]any{
		"cachesize": x.index.CacheSize, "concurrency": x.index.Concurrency, "wait": x.index.Wait.String(),
		"background": x.index.Background, "maxannotations": x.index.MaxAnnotations,
	})
	if found, ok := given.(map[string]any); ok && found[retention.Name] != nil {
		section(retention.Name, nil)
	}
	section(collection.Name, collectionInEffect(x.collection))
	return sections
}

// checkName refuses a name that cannot be the key of an extension's section.
func checkName(name string, before []extensions.Extension) error {
	taken := slices.ContainsFunc(before, func(e extensions.Extension) bool { return e.Name() == name })
	if name == "" || name == indexSection || name == collection.Name || name == retention.Name || taken {
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
	optional, ok := e.(extensions.Optional)
	enabled, err = section.Enabled(!ok || optional.EnabledByDefault())
	if configurer, ok := e.(extensions.Configurer); ok {
		return enabled, errors.Join(err, configurer.Configure(section))
	}
	return enabled, errors.Join(err, section.Decode(&struct{}{}))
}

// indexOptions reads the section of the index.
func indexOptions(root extensions.Section) (options referrers.Options, err error) {
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
	decodeErr := section.Decode(&keys)
	err = errors.Join(
		decodeErr,
		atLeastOne(section, "cachesize", keys.CacheSize),
		atLeastOne(section, "concurrency", keys.Concurrency),
		atLeastOne(section, "maxannotations", keys.MaxAnnotations),
	)
	return referrers.Options{
		CacheSize: keys.CacheSize, Concurrency: keys.Concurrency, Wait: keys.Wait,
		Background: keys.Background, MaxAnnotations: keys.MaxAnnotations,
	}, err
}

// retentionRules reads the section of retention.
func retentionRules(root extensions.Section) (*retention.Rules, error) {
	section, err := root.Take(retention.Name)
	if err != nil {
		return nil, err
	}
	return retention.Read(section)
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

// descriptions are what the enabled extensions say of themselves.
func (x *extended) descriptions() []extensions.Description {
	all := []extensions.Description{}
	for _, e := range x.enabled {
		if d, ok := e.(extensions.Describer); ok {
			all = append(all, d.Descriptions()...)
		}
	}
	return all
}

// decorate returns the content as the enabled extensions show it.
func (x *extended) decorate(services func(extensions.Content, extensions.Extension) extensions.Services, content extensions.Content) (extensions.Content, error) {
	for _, e := range x.enabled {
		if d, ok := e.(extensions.Decorator); ok {
			var err error
			if content, err = d.Decorate(services(content, e)); err != nil {
				return content, err
			}
		}
	}
	return content, nil
}

// rewrite puts the enabled extensions around every request. The first is the innermost.
func (x *extended) rewrite(next http.Handler) http.Handler {
	for _, e := range x.enabled {
		if r, ok := e.(extensions.Rewriter); ok {
			next = r.Rewrite(next)
		}
	}
	return next
}

// routes returns the routes of the enabled extensions.
func (x *extended) routes(services func(extensions.Extension) extensions.Services) (routes []extensions.Route) {
	for _, e := range x.enabled {
		if r, ok := e.(extensions.Router); ok {
			routes = append(routes, r.Routes(services(e))...)
		}
	}
	return routes
}
