package config

// options are the keys that a driver or the like takes. Below a key whose value is nil
// everything is allowed.
type options map[string]options

func keys(names ...string) options {
	known := options{}
	for _, name := range names {
		known[name] = nil
	}
	return known
}

// with is the options with another key.
func (o options) with(name string, below options) options {
	o[name] = below
	return o
}

// Distribution's drivers and backends read their options one by one, so that there is no
// type to take the keys from.
var (
	s3Options = keys("accesskey", "secretkey", "region", "regionendpoint", "redirectendpoint", "forcepathstyle", "bucket",
		"encrypt", "keyid", "secure", "skipverify", "v4auth", "chunksize", "multipartcopychunksize",
		"multipartcopymaxconcurrency", "multipartcopythresholdsize", "rootdirectory", "storageclass", "useragent",
		"objectacl", "usedualstack", "accelerate", "usefipsendpoint", "loglevel")

	driverOptions = map[string]options{
		"filesystem": keys("rootdirectory", "maxthreads", "useragent"),
		"inmemory":   keys("useragent"),
		"s3":         s3Options,
		"s3aws":      s3Options,
		"gcs":        keys("bucket", "rootdirectory", "chunksize", "keyfile", "credentials", "useragent", "maxconcurrency"),
		"azure": keys("container", "accountname", "accountkey", "connectionstring", "realm", "rootdirectory",
			"serviceurl", "max_retries", "retry_delay", "skipverify", "useragent").
			with("credentials", keys("type", "clientid", "tenantid", "secret")),
	}

	// storageOptions are the sections beside that of the driver.
	storageOptions = map[string]options{
		"delete":   keys("enabled"),
		"redirect": keys("disable"),
		"tag":      keys("concurrencylimit"),
		"cache":    keys("blobdescriptor", "blobdescriptorsize", "layerinfo"),
		"maintenance": {
			"uploadpurging": keys("enabled", "age", "interval", "dryrun"),
			"readonly":      keys("enabled"),
		},
	}

	authOptions = map[string]options{
		"silly":    keys("realm", "service"),
		"htpasswd": keys("realm", "path"),
		"token": keys("realm", "issuer", "service", "rootcertbundle", "jwks", "autoredirect", "autoredirectpath",
			"signingalgorithms"),
	}

	middlewareKinds = []string{"registry", "repository", "storage"}

	storageMiddlewareOptions = map[string]options{
		"redirect": keys("baseurl"),
		"rewrite":  keys("scheme", "host", "trimpathprefix"),
		"cloudfront": keys("baseurl", "privatekey", "keypairid", "duration", "updatefrequency", "updatefrenquency",
			"iprangesurl", "ipfilteredby", "awsregion"),
	}

	// documented are keys that distribution documents and does not read.
	documented = map[string]bool{"redis.tls.enabled": true}
)
