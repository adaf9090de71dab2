package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/configuration"
	stock "github.com/distribution/distribution/v3/registry"
	"github.com/distribution/distribution/v3/registry/auth"
	registrymiddleware "github.com/distribution/distribution/v3/registry/middleware/registry"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/internal/router"
)

// Only this file uses the process-wide tables of distribution: its manifest types,
// registry middlewares and HTTP handlers. The entries there have no state: a
// middleware finds its instance in the options that the configuration passes to it.

// middlewareName is the name of our entry in `middleware.registry`.
const middlewareName = "referrers"

// instanceOption is the key of the instance in the options of the entry.
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
			return nil, errors.New("the registry middleware referrers cannot be used in a configuration file")
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

// instance is the state of one running registry.
type instance struct {
	config     *config.Config
	extensions *extended
	index      *referrers.Index
	namespace  *namespace.Namespace
}

// install adds the extensions to a configuration: a registry that is created from it
// afterwards has them.
func install(config *config.Config, list []extensions.Extension) (*instance, error) {
	extended, err := extend(config, list)
	if err != nil {
		return nil, err
	}
	extended.index.Observer = newObserver(config.Stock.HTTP.Debug.Prometheus.Enabled)
	i := &instance{config: config, extensions: extended}
	if err := register(); err != nil {
		return nil, err
	}
	if err := namespace.RegisterTypes(extended.types.Extra()); err != nil {
		return nil, err
	}
	entry := configuration.Middleware{
		Name:    middlewareName,
		Options: configuration.Parameters{instanceOption: i},
	}
	if config.Stock.Middleware == nil {
		config.Stock.Middleware = map[string][]configuration.Middleware{}
	}
	// The first is the innermost: the others decorate what ours returns.
	config.Stock.Middleware["registry"] = append([]configuration.Middleware{entry}, config.Stock.Middleware["registry"]...)
	return i, nil
}

func (i *instance) decorate(inner distribution.Namespace, driver storagedriver.StorageDriver) distribution.Namespace {
	i.index = referrers.New(driver, i.extensions.index)
	i.namespace = namespace.New(inner, driver, i.index, namespace.Options{
		Types:         i.extensions.types,
		Disabled:      i.extensions.disabled,
		DeleteEnabled: i.config.DeleteEnabled(),
		Proxy:         i.config.IsProxy(),
	})
	return i.namespace
}

// handler adds the extensions to next, the handler of distribution. A pull-through
// cache only knows the referrers that clients happened to pull, so it serves no
// listings at all, and clients fall back to the tags of the upstream registry.
func (i *instance) handler(next http.Handler) http.Handler {
	for _, e := range i.extensions.enabled {
		if wrapper, ok := e.(extensions.Wrapper); ok {
			next = wrapper.Wrap(next)
		}
	}
	next = router.Recovering(router.Guarded(next))
	if i.config.IsProxy() {
		return next
	}
	http := i.config.Stock.HTTP
	return router.New(next, i.extensions.routes(i.index), router.Options{
		Prefix:     http.Prefix,
		Headers:    http.Headers,
		AccessLog:  !i.config.Stock.Log.AccessLog.Disabled,
		Metrics:    http.Debug.Prometheus.Enabled,
		Controller: i.accessController(),
	})
}

// accessController creates a controller like the one that distribution has created
// from the same configuration.
func (i *instance) accessController() auth.AccessController {
	kind := i.config.Stock.Auth.Type()
	if kind == "" || strings.EqualFold(kind, "none") {
		return nil
	}
	controller, err := auth.GetAccessController(kind, i.config.Stock.Auth.Parameters())
	if err != nil {
		panic("unable to configure authorization (" + kind + "): " + err.Error()) // caught by New and serve
	}
	return controller
}

// start starts the work in the background.
func (i *instance) start() {
	if i.extensions.index.Background && !i.config.IsProxy() {
		i.index.PrepareAll(i.namespace.Enumerate, logProgress)
	}
}

// close ends the work in the background and writes the derived files that are pending.
func (i *instance) close(ctx context.Context) error {
	if i.index == nil {
		return nil
	}
	if err := i.index.Close(ctx); err != nil {
		return fmt.Errorf("closing the index of referrers: %w", err)
	}
	return nil
}
