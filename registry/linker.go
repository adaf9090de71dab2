package registry

import (
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3/configuration"
)

// linker gives files of a storage tree second names. It is nil where the storage
// is not a folder of a filesystem that the configuration names.
func linker(config *configuration.Configuration) func(file, name string) error {
	root, ok := config.Storage.Parameters()["rootdirectory"].(string)
	if !ok || config.Storage.Type() != "filesystem" {
		return nil
	}
	return func(file, name string) error {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		return os.Link(filepath.Join(root, file), name)
	}
}
