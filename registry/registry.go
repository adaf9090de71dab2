// Package registry provides a registry as an http.Handler, and the commands of the
// registry binary. The main package adds drivers and extensions.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/distribution/distribution/v3/registry/handlers"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
)

// Config is a configuration: distribution's own, and the section `extensions:`.
type Config = config.Config

// ParseConfig reads the text of a configuration file and the REGISTRY_* variables
// of the environment.
func ParseConfig(file []byte) (*Config, error) { return config.Parse(file) }

// Registry is a complete registry as a handler: everything that `registry serve` does,
// except for the listener, log settings, tracing, and the watchdog that kills a process which
// was stopped for so long that it must not go on (docs/garbage-collection.md).
type Registry struct {
	handler  http.Handler
	instance *instance
	app      *handlers.App
	cancel   context.CancelFunc
}

// New creates a registry from a configuration, which must not be used for another
// registry, and from extensions, in the given order. It starts the work in the
// background, which ends with Shutdown or when New fails. The storage drivers and auth
// backends that the configuration names must be linked into the program.
func New(ctx context.Context, config *Config, list ...extensions.Extension) (r *Registry, err error) {
	return newWith(ctx, config, background{all: true}, list)
}

// background is what a registry does beside answering requests: all that its configuration
// says, or no more than it has to.
type background struct{ all bool }

func newWith(ctx context.Context, config *Config, background background, list []extensions.Extension) (r *Registry, err error) {
	i, err := install(config, list)
	if err != nil {
		return nil, err
	}
	if !background.all {
		i.extensions.collection.Interval, i.extensions.index.Background = 0, false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if p := recover(); p != nil { // distribution panics over some mistakes
			err = fmt.Errorf("%v", p)
		}
		if err != nil {
			cancel()
			err = errors.Join(err, i.close(context.WithoutCancel(ctx)))
		}
	}()
	app := handlers.NewApp(ctx, config.Stock)
	r = &Registry{instance: i, app: app, cancel: cancel, handler: i.requests.track(i.handler(app))}
	i.start()
	return r, nil
}

// ServeHTTP implements http.Handler. It does not panic, except with
// http.ErrAbortHandler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.handler.ServeHTTP(w, req) }

// Shutdown ends the work in the background and writes the derived files that are
// pending. Requests should have ended before. Storage operations that hang are
// abandoned when ctx ends.
func (r *Registry) Shutdown(ctx context.Context) error {
	defer r.cancel()
	err := r.instance.close(ctx)
	if appErr := r.app.Shutdown(); appErr != nil {
		err = errors.Join(err, fmt.Errorf("shutting down: %w", appErr))
	}
	return err
}
