package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/distribution/distribution/v3/registry/handlers"

	"github.com/oras-distribution/registry/extensions"
)

// NewHandler makes the whole registry as a handler, from the text of a
// configuration file: what `registry serve` does, without listener, log settings
// and tracing. Closing ends its work in the background.
func NewHandler(ctx context.Context, configuration []byte, list ...extensions.Extension) (handler http.Handler, closer io.Closer, err error) {
	config, err := parseConfiguration(configuration)
	if err != nil {
		return nil, nil, err
	}
	i, err := install(config, list)
	if err != nil {
		return nil, nil, err
	}
	defer recovered(&err)
	app := handlers.NewApp(ctx, config.Stock)
	handler = i.handler(app)
	i.start()
	return handler, running{i, app}, nil
}

type running struct {
	instance *instance
	app      *handlers.App
}

// Close implements io.Closer.
func (r running) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := r.instance.close(ctx)
	if appErr := r.app.Shutdown(); appErr != nil {
		err = errors.Join(err, fmt.Errorf("shutting down: %w", appErr))
	}
	return err
}
