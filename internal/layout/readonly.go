package layout

import (
	"context"
	"errors"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// ErrReadOnly is the error of all that a ReadOnly driver does not write.
var ErrReadOnly = errors.New("nothing may be written to the storage")

// ReadOnly is a storage driver that writes nothing.
type ReadOnly struct{ storagedriver.StorageDriver }

// PutContent implements storagedriver.StorageDriver.
func (ReadOnly) PutContent(context.Context, string, []byte) error { return ErrReadOnly }

// Writer implements storagedriver.StorageDriver.
func (ReadOnly) Writer(context.Context, string, bool) (storagedriver.FileWriter, error) {
	return nil, ErrReadOnly
}

// Move implements storagedriver.StorageDriver.
func (ReadOnly) Move(context.Context, string, string) error { return ErrReadOnly }

// Delete implements storagedriver.StorageDriver.
func (ReadOnly) Delete(context.Context, string) error { return ErrReadOnly }
