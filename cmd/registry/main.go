// Command registry is distribution's registry with reference types.
package main

import (
	_ "net/http/pprof"
	"os"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/silly"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/proxy"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/azure"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/gcs"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/cloudfront"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/redirect"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/rewrite"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"

	"github.com/oras-distribution/registry/extensions/browse"
	"github.com/oras-distribution/registry/extensions/mirror"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/registry"
)

func main() {
	os.Exit(registry.Main(
		oras.New(),
		oci.New(),
		mirror.New(),
		browse.New(),
	))
}
