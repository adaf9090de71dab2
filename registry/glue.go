package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/configuration"
	stock "github.com/distribution/distribution/v3/registry"
	registrymiddleware "github.com/distribution/distribution/v3/registry/middleware/registry"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/internal/namespace"
)

// This file alone touches the process-wide tables of distribution: its manifest
// types, registry middlewares and HTTP handlers. What is entered there holds no
// state: a middleware finds its instance in the options that the configuration
// hands it.

// middlewareName is the name of our entry below `middleware.registry`.
const middlewareName = "referrers"

// instanceOption is the key of the instance among the options of the entry.
const instanceOption = "instance"

var register = sync.OnceValue(func() error {
	stock.RegisterHandler(func(config *configuration.Configuration, next http.Handler) http.Handler {
		if i := instanceOf(config); i != nil {
			return i.handler(next)
		}
		return next
	})
	return registrymiddleware.Register(middlewareName, func(_ context.Context, inner distribution.Namespace,
		driver storagedriver.StorageDriver, options map[string]any,
	) (distribution.Namespace, error) {
		i, ok := options[instanceOption].(*instance)
		if !ok {
			return nil, errors.New("the registry middleware referrers is not for configuration files")
		}
		return i.decorate(inner, driver), nil
	})
})

func instanceOf(config *configuration.Configuration) *instance {
	for _, entry := range config.Middleware["registry"] {
		if i, ok := entry.Options[instanceOption].(*instance); ok {
			return i
		}
	}
	return nil
}

// instance is what belongs to one running registry.
type instance struct {
	config     *configuration.Configuration
	extensions []extensions.Extension // that are enabled
	types      []manifest.Artifact    // of all extensions
	disabled   map[string]string      // those of them that are, by media type
	options    referrers.Options
	index      *referrers.Index
	namespace  *namespace.Namespace
}

// install enters the extensions into a configuration: a registry that is made of
// it afterwards has them.
func install(config *Configuration, list []extensions.Extension) (*instance, error) {
	enabled, options, err := configure(config, list)
	if err != nil {
		return nil, err
	}
	options.Observer = newObserver(config.Stock.HTTP.Debug.Prometheus.Enabled)
	i := &instance{config: config.Stock, extensions: enabled, options: options}
	i.types, i.disabled = manifestTypes(list, enabled)
	if err := register(); err != nil {
		return nil, err
	}
	if err := namespace.RegisterTypes(i.types); err != nil {
		return nil, err
	}
	entry := configuration.Middleware{
		Name:    middlewareName,
		Options: configuration.Parameters{instanceOption: i},
	}
	if config.Stock.Middleware == nil {
		config.Stock.Middleware = map[string][]configuration.Middleware{}
	}
	// First, that is, innermost: others decorate what ours returns.
	config.Stock.Middleware["registry"] = append([]configuration.Middleware{entry}, config.Stock.Middleware["registry"]...)
	return i, nil
}

// manifestTypes are those of all extensions: what is stored of a type can be pulled
// even if its extension is disabled. For the media types of those that are,
// disabled has the key of the configuration that says so.
func manifestTypes(list, enabled []extensions.Extension) (types []manifest.Artifact, disabled map[string]string) {
	disabled = map[string]string{}
	for _, e := range list {
		typer, ok := e.(extensions.ManifestTyper)
		if !ok {
			continue
		}
		isEnabled := slices.ContainsFunc(enabled, func(on extensions.Extension) bool { return on.Name() == e.Name() })
		for _, kind := range typer.ManifestTypes() {
			types = append(types, kind)
			if !isEnabled {
				disabled[kind.MediaType] = "extensions." + e.Name() + ".enabled"
			}
		}
	}
	return types, disabled
}

func (i *instance) decorate(inner distribution.Namespace, driver storagedriver.StorageDriver) distribution.Namespace {
	i.index = referrers.New(driver, i.options)
	i.namespace = namespace.New(inner, driver, i.index, namespace.Options{
		Types:         i.types,
		Disabled:      i.disabled,
		DeleteEnabled: deleteEnabled(i.config),
		Proxy:         i.isProxy(),
	})
	return i.namespace
}

// isProxy reports whether the registry is a pull-through cache. It then knows no
// more referrers than it happened to pull, so it serves no listings at all, and
// clients fall back to the tags of the origin.
func (i *instance) isProxy() bool { return i.config.Proxy.RemoteURL != "" }

// start begins the work in the background.
func (i *instance) start() {
	if i.options.Background && !i.isProxy() {
		i.index.PrepareAll(i.namespace.Enumerate, logProgress)
	}
}

// close ends the work in the background and writes what is left to write.
func (i *instance) close(ctx context.Context) error {
	if i.index == nil {
		return nil
	}
	if err := i.index.Close(ctx); err != nil {
		return fmt.Errorf("closing the index of referrers: %w", err)
	}
	return nil
}
