package derived

import (
	_ "github.com/distribution/distribution/v3/registry/storage/driver/azure" // the storages that registries may have here
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/gcs"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
)
