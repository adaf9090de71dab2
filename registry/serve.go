package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	stock "github.com/distribution/distribution/v3/registry"
	distribution "github.com/distribution/distribution/v3/version"
	prometheus "github.com/docker/go-metrics"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
)

// defaultDrainTimeout is how long requests may take to finish after SIGTERM if the
// configuration does not say: distribution would interrupt them.
const defaultDrainTimeout = 10 * time.Second

// closeTimeout is how long writing the derived files may take at the end. Losing them
// does no harm.
const closeTimeout = 5 * time.Second

func newServeCommand(list []extensions.Extension) *cobra.Command {
	return &cobra.Command{
		Use:   "serve [CONFIG]",
		Short: "Serve the registry",
		Long:  "Serve the registry. Without a configuration file, as argument or in " + config.PathVariable + ", an embedded one is used.",
		Args:  arguments("[CONFIG]"),
		RunE: func(_ *cobra.Command, args []string) error {
			return serve(args, list)
		},
	}
}

// serve runs the registry until it is told to stop.
func serve(args []string, list []extensions.Extension) error {
	config, err := config.Load(args)
	if err != nil {
		return err
	}
	if config.Stock.HTTP.DrainTimeout == 0 {
		config.Stock.HTTP.DrainTimeout = defaultDrainTimeout
	}
	if config.Embedded {
		announce(config.Stock)
	}
	i, err := install(config, list)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	var registry *stock.Registry
	err = untraced(func() (err error) {
		registry, err = newRegistry(config.Stock)
		return err
	})
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	serveDebug(config.Stock)
	i.start()
	served := registry.ListenAndServe()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := i.close(ctx); err != nil {
		logrus.Warn(err)
	}
	if errors.Is(served, http.ErrServerClosed) {
		served = nil
	}
	return served
}

// newRegistry calls distribution's NewRegistry, which panics over some mistakes in the
// configuration.
func newRegistry(stockConfig *configuration.Configuration) (registry *stock.Registry, err error) {
	defer config.Recovered(&err)
	logrus.Infof("distribution %s", distribution.Version())
	return stock.NewRegistry(context.Background(), stockConfig)
}

// announce says where a registry without a configuration listens and stores its data.
func announce(config *configuration.Configuration) {
	where := config.Storage.Type()
	if root, ok := config.Storage.Parameters()["rootdirectory"].(string); ok {
		if path, err := filepath.Abs(root); err == nil {
			root = path
		}
		where = root
	}
	fmt.Fprintf(os.Stderr, "registry: no configuration given: will listen on %s and store in %s\n", config.HTTP.Addr, where)
}

// serveDebug serves health, profiles and metrics if `http.debug` is configured, as
// distribution's own command does.
func serveDebug(config *configuration.Configuration) {
	debug := config.HTTP.Debug
	if debug.Addr == "" {
		return
	}
	if debug.Prometheus.Enabled {
		path := debug.Prometheus.Path
		if path == "" {
			path = "/metrics"
		}
		logrus.Info("providing prometheus metrics on ", path)
		http.Handle(path, prometheus.Handler())
	}
	go func() {
		logrus.Infof("debug server listening %v", debug.Addr)
		if err := http.ListenAndServe(debug.Addr, nil); err != nil {
			logrus.Fatalf("error listening on debug interface: %v", err)
		}
	}()
}
