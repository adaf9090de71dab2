package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
)

// prepared is what a command works with.
type prepared struct {
	config   *config.Config
	extended *extended
	driver   storagedriver.StorageDriver
}

// prepare reads the configuration of a command that works on the storage, and refuses
// what serve refuses. Warnings go to errOut.
func prepare(ctx context.Context, errOut io.Writer, args []string, list []extensions.Extension) (*prepared, error) {
	loaded, err := config.Load(args)
	if err != nil {
		return nil, err
	}
	for _, warning := range loaded.Warnings {
		_, _ = fmt.Fprintln(errOut, "warning: configuration: "+warning)
	}
	extended, err := extend(loaded, list)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if err := acceptable(ctx, loaded.Stock, false); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if level, err := logrus.ParseLevel(string(loaded.Stock.Log.Level)); err == nil {
		logrus.SetLevel(min(level, logrus.WarnLevel))
	}
	driver, err := createDriver(ctx, loaded.Stock.Storage)
	if err != nil {
		return nil, err
	}
	if err := checkRoot(ctx, driver, loaded.Stock.Storage); err != nil {
		return nil, err
	}
	return &prepared{loaded, extended, driver}, nil
}

// acceptable reports why serve would refuse a configuration: what distribution finds
// wrong when it creates a registry from it, and when it begins to listen. A command may
// run where the files that the configuration names are not, so they may be missing
// unless filesToo is set.
//
// The error has a line for each mistake. Distribution ends at its first, so the section
// that it finds fault with is left out, and it is asked again.
func acceptable(ctx context.Context, c *configuration.Configuration, filesToo bool) error {
	all := acceptableListener(c, filesToo)
	rest := inert(c, filesToo)
	if _, err := createDriver(ctx, c.Storage); err != nil {
		all = errors.Join(all, err)
		withoutDriver(rest)
	}
	for found := map[string]bool{}; ; {
		err := create(ctx, rest)
		if err == nil {
			return all
		}
		all = errors.Join(all, located(err))
		path := pathOf(err)
		if path == "" || found[path] {
			return all
		}
		found[path] = true
		leaveOut(rest, path)
	}
}

// create creates a registry and shuts it down.
func create(ctx context.Context, c *configuration.Configuration) (err error) {
	level := logrus.GetLevel()
	logrus.SetLevel(logrus.PanicLevel)
	defer logrus.SetLevel(level)
	defer config.Recovered(&err)
	return handlers.NewApp(ctx, c).Shutdown()
}

// leaveOut takes a section with a mistake out of an inert configuration.
func leaveOut(c *configuration.Configuration, path string) {
	keys := append(strings.Split(path, "."), "")
	switch keys[0] {
	case "auth":
		c.Auth = nil
	case "http":
		c.HTTP.Host = ""
	case "middleware":
		delete(c.Middleware, keys[1])
	case "validation":
		c.Validation = configuration.Validation{}
	case "storage":
		if keys[1] != "maintenance" {
			delete(c.Storage, keys[1])
			return
		}
		delete(c.Storage["maintenance"], keys[2])
		c.Storage["maintenance"] = inertMaintenance(c.Storage["maintenance"])
	}
}

// withoutDriver puts another storage driver in the place of one that cannot be created.
func withoutDriver(c *configuration.Configuration) {
	delete(c.Storage, c.Storage.Type())
	c.Storage["inmemory"] = configuration.Parameters{}
	delete(c.Middleware, "storage") // which depends on the driver
}

// located names the section that distribution finds fault with, where it does not.
func located(err error) error {
	if err == nil {
		return nil
	}
	if path := pathOf(err); path != "" && !strings.HasPrefix(err.Error(), path) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return err
}

// pathOf is the section that distribution finds fault with, if it can be told.
func pathOf(err error) string {
	for _, fault := range []struct{ says, path string }{
		{"uploadpurging", "storage.maintenance.uploadpurging"},
		{"upload purge", "storage.maintenance.uploadpurging"},
		{"readonly", "storage.maintenance.readonly"},
		{"blobdescriptorsize", "storage.cache.blobdescriptorsize"},
		{"layerinfo cache", "storage.cache.blobdescriptor"},
		{"redirect config", "storage.redirect"},
		{"tag lookup", "storage.tag.concurrencylimit"},
		{"authorization", "auth"},
		{"registry middleware", "middleware.registry"},
		{"storage middleware", "middleware.storage"},
		{`"host" parameter`, "http.host"},
		{"validation.manifests.urls", "validation.manifests.urls"},
	} {
		if strings.Contains(err.Error(), fault.says) {
			return fault.path
		}
	}
	return ""
}

// inert is a configuration with the same mistakes whose registry does nothing.
func inert(c *configuration.Configuration, filesToo bool) *configuration.Configuration {
	copied := *c
	copied.HTTP.Secret = "unused"
	copied.HTTP.Debug.Prometheus.Enabled = false
	copied.Log.Hooks = nil
	copied.Notifications.Endpoints = nil
	copied.Proxy = configuration.Proxy{}
	copied.Validation.Manifests.URLs.Allow = slices.Clone(c.Validation.Manifests.URLs.Allow)
	copied.Validation.Manifests.URLs.Deny = slices.Clone(c.Validation.Manifests.URLs.Deny)
	copied.Storage = maps.Clone(c.Storage)
	copied.Storage["maintenance"] = inertMaintenance(c.Storage["maintenance"])
	if path, ok := missingFile(c.Auth.Parameters()); ok && (!filesToo || path == "path") {
		copied.Auth = nil // a password file would be created
	}
	copied.Middleware = maps.Collect(maps.All(c.Middleware)) // not nil
	if !filesToo {
		copied.Redis.TLS = configuration.RedisTLSOptions{}
		copied.Middleware["storage"] = slices.DeleteFunc(slices.Clone(c.Middleware["storage"]), func(m configuration.Middleware) bool {
			_, missing := missingFile(m.Options)
			return missing
		})
	}
	return &copied
}

// inertMaintenance makes the purging of uploads a dry run.
func inertMaintenance(section configuration.Parameters) configuration.Parameters {
	copied := maps.Clone(section)
	if copied == nil {
		copied = configuration.Parameters{}
	}
	purging, given := copied["uploadpurging"]
	switch keys, ok := purging.(map[any]any); {
	case !given:
		copied["uploadpurging"] = map[any]any{"enabled": false}
	case ok:
		keys = maps.Clone(keys)
		if _, isBool := keys["dryrun"].(bool); isBool {
			keys["dryrun"] = true
		}
		copied["uploadpurging"] = keys
	}
	return copied
}

// missingFile is the key of an option that names a file which is not there.
func missingFile(options configuration.Parameters) (key string, missing bool) {
	for _, key := range []string{"rootcertbundle", "jwks", "path", "privatekey"} {
		if path, ok := options[key].(string); ok && path != "" {
			if _, err := os.Stat(path); err != nil {
				return key, true
			}
		}
	}
	return "", false
}

// acceptableListener reports what distribution finds wrong only when it begins to listen.
func acceptableListener(c *configuration.Configuration, filesToo bool) error {
	var all []error
	wrong := func(path, format string, args ...any) { all = append(all, fmt.Errorf(path+": "+format, args...)) }
	switch c.Log.Formatter {
	case "", "text", "json", "logstash":
	default:
		wrong("log.formatter", "must be text, json or logstash, not %q", c.Log.Formatter)
	}
	if _, err := url.Parse(c.Proxy.RemoteURL); err != nil {
		wrong("proxy.remoteurl", "%w", err)
	}
	if c.HTTP.Net != "" && c.HTTP.Net != "tcp" && c.HTTP.Net != "unix" {
		wrong("http.net", "must be tcp or unix, not %q", c.HTTP.Net)
	}
	if c.HTTP.Addr != "" && c.HTTP.Net != "unix" {
		if _, _, err := net.SplitHostPort(c.HTTP.Addr); err != nil {
			wrong("http.addr", "%w", err)
		}
	}
	return errors.Join(errors.Join(all...), acceptableTLS(c, filesToo))
}

// acceptableTLS does that for the section `http.tls`, which has no effect without a
// certificate.
func acceptableTLS(c *configuration.Configuration, filesToo bool) error {
	given := c.HTTP.TLS
	if given.Certificate == "" && given.LetsEncrypt.CacheFile == "" {
		return nil
	}
	var all []error
	wrong := func(key, format string, args ...any) {
		all = append(all, fmt.Errorf("http.tls"+key+": "+format, args...))
	}
	if given.Certificate != "" && given.LetsEncrypt.CacheFile != "" {
		wrong("", "there is both a certificate and letsencrypt")
	}
	if given.MinimumTLS != "" && given.MinimumTLS != "tls1.2" && given.MinimumTLS != "tls1.3" {
		wrong(".minimumtls", "must be tls1.2 or tls1.3, not %q", given.MinimumTLS)
	}
	suites := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
	for i, name := range given.CipherSuites {
		known := slices.ContainsFunc(suites, func(suite *tls.CipherSuite) bool { return suite.Name == name })
		if !known && given.MinimumTLS != "tls1.3" {
			wrong(fmt.Sprintf(".ciphersuites[%d]", i), "there is no cipher suite %q", name)
		}
	}
	if filesToo && given.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(given.Certificate, given.Key); err != nil {
			wrong(".certificate", "%w", err)
		}
	}
	return errors.Join(all...)
}
