package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/cache"
	rediscache "github.com/distribution/distribution/v3/registry/storage/cache/redis"
	"github.com/opencontainers/go-digest"
	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v2"
)

// sharedCache is the descriptor cache that registries share in Redis. It has to forget what
// a collection has removed, for those that are started later.
type sharedCache struct {
	client   redis.UniversalClient
	provider cache.BlobDescriptorCacheProvider
}

// openSharedCache opens the cache that a configuration names, nil if it names none.
func openSharedCache(c *configuration.Configuration) (*sharedCache, error) {
	settings := c.Storage["cache"]
	kind, there := settings["blobdescriptor"]
	if !there {
		kind = settings["layerinfo"]
	}
	if kind != "redis" || len(c.Redis.Options.Addrs) == 0 {
		return nil, nil
	}
	var options redis.UniversalOptions // its fields are those of the configuration
	text, err := yaml.Marshal(c.Redis.Options)
	if err == nil {
		err = yaml.Unmarshal(text, &options)
	}
	if err == nil {
		options.TLSConfig, err = redisTLS(c.Redis.TLS)
	}
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	client := redis.NewUniversalClient(&options)
	return &sharedCache{client, rediscache.NewRedisBlobDescriptorCacheProvider(client)}, nil
}

// redisTLS is how distribution connects to Redis.
func redisTLS(c configuration.RedisTLSOptions) (*tls.Config, error) {
	if c.Certificate == "" && c.Key == "" && len(c.RootCAs) == 0 {
		return nil, nil
	}
	config := &tls.Config{}
	if c.Certificate != "" && c.Key != "" {
		pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if len(c.RootCAs) > 0 {
		config.RootCAs = x509.NewCertPool()
	}
	for _, file := range c.RootCAs {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificates", file)
		}
	}
	return config, nil
}

// forget removes what is known of a digest: in a repository, or, if that is empty, of its
// bytes.
func (s *sharedCache) forget(ctx context.Context, repository string, d digest.Digest) error {
	if s == nil {
		return nil
	}
	var service distribution.BlobDescriptorService = s.provider
	if repository != "" {
		var err error
		if service, err = s.provider.RepositoryScoped(repository); err != nil {
			return err
		}
	}
	if err := service.Clear(ctx, d); err != nil && !errors.Is(err, distribution.ErrBlobUnknown) {
		return fmt.Errorf("removing %s from the descriptor cache in Redis: %w", d, err)
	}
	return nil
}

func (s *sharedCache) close() {
	if s != nil {
		_ = s.client.Close()
	}
}
