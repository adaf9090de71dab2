package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	stock "github.com/distribution/distribution/v3/registry"
	prometheus "github.com/docker/go-metrics"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
)

// defaultDrainTimeout is how long requests may take to finish after SIGTERM if the
// configuration does not say: distribution would interrupt them. Together with
// closeTimeout it is less than the 10 s after which Docker kills a container.
const defaultDrainTimeout = 8 * time.Second

// closeTimeout is how long writing the derived files may take after that. Losing them
// does no harm.
const closeTimeout = time.Second

func newServeCommand(list []extensions.Extension) *cobra.Command {
	return &cobra.Command{
		Use:   "serve [CONFIG]",
		Short: "Serve the registry",
		Long:  "Serve the registry. Without a configuration file, as argument or in " + config.PathVariable + ", an embedded one is used.",
		Args:  arguments("[CONFIG]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return serve(cmd.Context(), args, list)
		},
	}
}

// serve runs the registry until it is told to stop, which is when ctx ends, too.
func serve(ctx context.Context, args []string, list []extensions.Extension) error {
	config, err := config.Load(args)
	if err != nil {
		return err
	}
	withDefaults(config)
	i, err := install(config, list)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := acceptableListener(config.Stock, true); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	introduce(config)
	if i.takesPart() {
		i.guard = watch(i.extensions.collection.Pace)
	}
	if config.Embedded {
		makeRepositories(config.Stock.Storage)
	}
	var registry *stock.Registry
	err = untraced(func() (err error) {
		registry, err = newRegistry(config.Stock)
		return err
	})
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if !config.ReadOnly() {
		if err := checkWritable(ctx, config.Stock.Storage); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil // told to stop before it could listen
	}
	serveDebug(config.Stock, i.ready(ctx))
	i.start()
	return i.serve(ctx, registry)
}

// serve serves until ctx ends, and then lets the requests that are under way finish.
func (i *instance) serve(ctx context.Context, registry *stock.Registry) error {
	drain := i.config.Stock.HTTP.DrainTimeout
	var deadline atomic.Pointer[time.Time]
	defer context.AfterFunc(ctx, func() {
		end := time.Now().Add(drain + closeTimeout)
		deadline.Store(&end)
	})()
	defer context.AfterFunc(ctx, repeatSignal)()
	served := registry.ListenAndServe()
	if errors.Is(served, context.DeadlineExceeded) {
		i.requests.cutOff(drain)
		served = nil
	}
	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	if end := deadline.Load(); end != nil {
		cancel()
		closing, cancel = context.WithDeadline(context.Background(), *end)
	}
	defer cancel()
	if err := i.close(closing); err != nil {
		logrus.Warn(err)
	}
	if errors.Is(served, http.ErrServerClosed) {
		served = nil
	}
	return served
}

// signalPause is how long after a signal it is repeated, and then expected again.
const signalPause = 500 * time.Millisecond

// repeatSignal sends this process the signal to stop once more. Distribution says that it
// listens before it waits for signals, and would go on if the first came between.
func repeatSignal() {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGTERM) // or else it would end the process
	defer signal.Stop(received)
	time.Sleep(signalPause)
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Signal(syscall.SIGTERM)
	}
	time.Sleep(signalPause)
}

// withDefaults adds the defaults that differ from distribution's.
func withDefaults(config *config.Config) {
	if config.Stock.HTTP.DrainTimeout == 0 {
		config.Stock.HTTP.DrainTimeout = defaultDrainTimeout
	}
	if config.Embedded && config.Stock.HTTP.Secret == "" {
		config.Stock.HTTP.Secret = rand.Text() // nobody shares it, so it need not be configured
	}
}

// newRegistry calls distribution's NewRegistry, which panics over some mistakes in the
// configuration.
func newRegistry(stockConfig *configuration.Configuration) (registry *stock.Registry, err error) {
	defer func() { err = located(err) }()
	defer config.Recovered(&err)
	return stock.NewRegistry(context.Background(), stockConfig)
}

// serveDebug serves health, profiles and metrics if `http.debug` is configured, as
// distribution's own command does, and whether the registry is ready.
func serveDebug(config *configuration.Configuration, ready http.Handler) {
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
	http.Handle("/debug/ready", ready)
	go func() {
		logrus.Infof("debug server listening %v", debug.Addr)
		if err := http.ListenAndServe(debug.Addr, nil); err != nil {
			logrus.Fatalf("error listening on debug interface: %v", err)
		}
	}()
}
