package registry

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/configuration"
	stock "github.com/distribution/distribution/v3/registry"
	"github.com/distribution/distribution/v3/registry/auth"
	registrymiddleware "github.com/distribution/distribution/v3/registry/middleware/registry"
	repositorymiddleware "github.com/distribution/distribution/v3/registry/middleware/repository"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/collection"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/pulls"
	"github.com/oras-distribution/registry/internal/records"
	"github.com/oras-distribution/registry/internal/referrers"
	"github.com/oras-distribution/registry/internal/router"
)

// Only this file uses the process-wide tables of distribution: its manifest types,
// registry and repository middlewares, and HTTP handlers. The entries there have no
// state: a middleware finds its instance in the options that the configuration passes
// to it.

// middlewareName is the name of our entries in `middleware.registry` and
// `middleware.repository`.
const middlewareName = "referrers"

// instanceOption is the key of the instance in the options of the entry.
const instanceOption = "instance"

// tables is held while they are changed: registries may be created at the same time.
var tables sync.Mutex

var register = sync.OnceValue(func() error {
	stock.RegisterHandler(func(config *configuration.Configuration, next http.Handler) http.Handler {
		if i := instanceOf(config); i != nil {
			return i.requests.track(i.handler(next))
		}
		return next
	})
	err := repositorymiddleware.Register(middlewareName, func(_ context.Context, inner distribution.Repository, _ map[string]any) (distribution.Repository, error) {
		return namespace.Announced(inner), nil
	})
	if err != nil {
		return err
	}
	return registrymiddleware.Register(middlewareName, func(_ context.Context, inner distribution.Namespace,
		driver storagedriver.StorageDriver, options map[string]any,
	) (distribution.Namespace, error) {
		i, ok := options[instanceOption].(*instance)
		if !ok {
			return nil, errors.New("the registry middleware referrers cannot be used in a configuration file")
		}
		return i.decorate(inner, driver)
	})
})

// register adds to distribution's tables what the registry needs there.
func (i *instance) register() error {
	tables.Lock()
	defer tables.Unlock()
	if err := register(); err != nil {
		return err
	}
	if err := namespace.RegisterTypes(i.extensions.types.Extra()); err != nil {
		return err
	}
	// A cache takes no pushes, and sends the registered types to its upstream registry.
	if i.config.IsProxy() {
		return nil
	}
	return namespace.RegisterDigests()
}

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
	urls       *namespace.URLs
	index      *referrers.Index
	namespace  *namespace.Namespace
	driver     storagedriver.StorageDriver
	content    extensions.Content    // as the extensions show it
	controller auth.AccessController // nil: everyone may do everything
	replica    *collection.Replica   // nil if this registry takes no part in collections
	collecting collecting
	guard      func() (done func()) // of collection.Options, nil if this is not a process of its own
	recorder   *pulls.Recorder      // of pulls, nil if no rule asks for them
	requests   inFlight
	readiness  readiness
}

// install adds the extensions to a configuration: a registry that is created from it
// afterwards has them.
func install(config *config.Config, list []extensions.Extension) (*instance, error) {
	extended, err := extend(config, list)
	if err != nil {
		return nil, err
	}
	observer := newObserver(config.Stock.HTTP.Debug.Prometheus.Enabled)
	extended.index.Observer = observer
	i := &instance{config: config, extensions: extended}
	i.collecting.observer, i.collecting.yield = observer, i.requests.yield
	if rules := config.Stock.Validation; !rules.Disabled || rules.Enabled {
		if i.urls, err = namespace.NewURLs(rules.Manifests.URLs.Allow, rules.Manifests.URLs.Deny); err != nil {
			return nil, err
		}
	}
	if extended.collection.Interval > 0 {
		if i.collecting.cache, err = openSharedCache(config.Stock); err != nil {
			return nil, err
		}
	}
	if err := i.register(); err != nil {
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
	for _, kind := range []string{"registry", "repository"} {
		config.Stock.Middleware[kind] = append([]configuration.Middleware{entry}, config.Stock.Middleware[kind]...)
	}
	return i, nil
}

func (i *instance) decorate(inner distribution.Namespace, driver storagedriver.StorageDriver) (decorated distribution.Namespace, err error) {
	options := i.extensions.index
	options.Names = folderNames(i.config.Stock)
	if i.config.ReadOnly() && !i.config.IsProxy() { // a pull-through cache stores what it pulls all the same
		driver = layout.ReadOnly{StorageDriver: driver}
	}
	i.index = referrers.New(driver, options)
	if i.takesPart() {
		shared := collection.Options{
			Pace: collection.Pace(i.extensions.collection.Pace), Guard: i.guard,
			Failed: func(err error) { logrus.Warnf("garbage collection: %v", err) },
		}
		i.replica = collection.NewReplica(driver, shared)
		i.collecting.replica, i.collecting.driver, i.collecting.options = i.replica, driver, shared
		i.recorder = pulls.NewRecorder(driver, i.extensions.rules, func(err error) { logrus.Warnf("retention: %v", err) })
	}
	i.namespace = namespace.New(inner, driver, i.index, namespace.Options{
		Types:         i.extensions.types,
		Disabled:      i.extensions.disabled,
		DeleteEnabled: i.config.DeleteEnabled(),
		Validation:    validation(i.config.Stock),
		URLs:          i.urls,
		Immutable:     i.extensions.rules.Immutable,
		Proxy:         i.config.IsProxy(),
	})
	i.driver = driver
	i.content = extensions.Content{Namespace: i.namespace, Referrers: i.index}
	i.controller = i.accessController()
	if i.content, err = i.extensions.decorate(i.services, i.content); err != nil {
		return nil, err
	}
	if i.config.IsProxy() {
		return i.namespace, nil
	}
	if i.recorder != nil { // what clients pull, and not what extensions look at
		return namespace.Pulls(i.content.Namespace, i.recorder.Pulled), nil
	}
	return i.content.Namespace, nil
}

// services are what an extension is lent.
func (i *instance) services(content extensions.Content, e extensions.Extension) extensions.Services {
	return extensions.Services{
		Content:      content,
		Descriptions: i.extensions.descriptions(),
		Prefix:       strings.TrimRight(i.config.Stock.HTTP.Prefix, "/"),
		Origin:       i.origin(),
		Unlisted:     i.extensions.index.Unlisted,
		Metrics:      i.config.Stock.HTTP.Debug.Prometheus.Enabled,
		Allowed:      router.Allowed(i.controller),
		Tagged:       i.tagged,
		Token:        i.tokenServer(),
		Key:          func(purpose string) ([]byte, error) { return i.key(e.Name() + ": " + purpose) },
		Work:         i.work,
		Records:      records.New(i.driver, e.Name()),
	}
}

// origin is the registry that a pull-through cache is of, if its account is known.
func (i *instance) origin() *extensions.Origin {
	proxy := i.config.Stock.Proxy
	if proxy.RemoteURL == "" || proxy.Exec != nil {
		return nil
	}
	return &extensions.Origin{URL: proxy.RemoteURL, Username: proxy.Username, Password: proxy.Password}
}

// listsNothing reports whether this is a pull-through cache whose referrers no extension
// knows. The index has only those that clients happened to pull, so no listings are served at
// all, and clients fall back to the tags of the upstream registry.
func (i *instance) listsNothing() bool {
	return i.config.IsProxy() && i.content.Referrers == extensions.Lister(i.index)
}

// work begins work that is not a request's.
func (i *instance) work(ctx context.Context) (context.Context, func() error) {
	if i.replica == nil {
		return ctx, func() error { return nil }
	}
	return i.replica.Work(ctx)
}

// handler adds the extensions to next, the handler of distribution.
func (i *instance) handler(next http.Handler) http.Handler {
	if i.replica != nil {
		next = router.Answering(next, func(r *http.Request) (context.Context, router.Section) {
			section := i.replica.Section()
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				section = i.replica.Pull()
			}
			return collection.With(r.Context(), section), section
		})
	}
	for _, e := range i.extensions.enabled {
		if wrapper, ok := e.(extensions.Wrapper); ok {
			next = wrapper.Wrap(next)
		}
	}
	next = router.Recovering(router.Guarded(router.Concealing(router.ByDigest(next, layout.Algorithms()[1:]))))
	if i.listsNothing() {
		return next
	}
	http := i.config.Stock.HTTP
	options := router.Options{
		Prefix:     http.Prefix,
		Headers:    http.Headers,
		AccessLog:  !i.config.Stock.Log.AccessLog.Disabled,
		Metrics:    http.Debug.Prometheus.Enabled,
		Controller: i.controller,
	}
	if !i.config.IsProxy() { // which takes no pushes
		next = router.Checked(router.Monolithic(next), options)
	}
	routes := i.extensions.routes(func(e extensions.Extension) extensions.Services { return i.services(i.content, e) })
	routed, err := router.New(next, routes, options)
	if err != nil {
		panic(err.Error()) // caught by New and serve
	}
	return i.extensions.rewrite(routed)
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

// tokenServer is the one that `auth.token` names.
func (i *instance) tokenServer() *extensions.TokenServer {
	if i.controller == nil || i.config.Stock.Auth.Type() != "token" {
		return nil
	}
	parameters := i.config.Stock.Auth.Parameters()
	realm, _ := parameters["realm"].(string)
	service, _ := parameters["service"].(string)
	return &extensions.TokenServer{Realm: realm, Service: service}
}

// key derives a key from the secret, which distribution has made if none is configured.
func (i *instance) key(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(i.config.Stock.HTTP.Secret), nil, "registry extension "+purpose, sha256.Size)
}

// tagged is when a tag was pushed last.
func (i *instance) tagged(ctx context.Context, repository, tag string) (time.Time, error) {
	info, err := i.driver.Stat(ctx, layout.TagCurrent(repository, tag))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// takesPart reports whether collections that run while this registry serves wait for it. One
// that writes nothing can object to nothing.
func (i *instance) takesPart() bool { return !i.config.ReadOnly() && !i.config.IsProxy() }

// start starts the work in the background.
func (i *instance) start() {
	if i.replica != nil {
		if err := i.replica.Start(context.Background()); err != nil {
			logrus.Warnf("garbage collection: %v", err) // it is tried again
		}
		i.collecting.start(i.extensions)
		i.recorder.Start()
	}
	if i.extensions.index.Background && !i.config.IsProxy() {
		i.index.PrepareAll(i.namespace.Enumerate, func(p referrers.Progress) {
			logProgress(p)
			i.readiness.prepared(p)
		})
	}
}

// close ends the work in the background and writes the derived files that are pending.
func (i *instance) close(ctx context.Context) error {
	if i.index == nil {
		return nil
	}
	for _, e := range i.extensions.enabled {
		if closer, ok := e.(extensions.Closer); ok {
			if err := closer.Close(ctx); err != nil {
				logrus.Warnf("extension %s: %v", e.Name(), err)
			}
		}
	}
	if i.replica != nil {
		i.collecting.stop()
		if err := i.replica.Close(ctx); err != nil {
			logrus.Warnf("garbage collection: %v", err)
		}
	}
	i.recorder.Close(ctx)
	if err := i.index.Close(ctx); err != nil {
		return fmt.Errorf("closing the index of referrers: %w", err)
	}
	return nil
}
