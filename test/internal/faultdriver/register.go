package faultdriver

import (
	"context"
	"errors"
	"sync"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

// Slot stands for a storage driver in configurations: a registry that is created from
// one gets the driver that is in the slot at that moment.
type Slot struct {
	mu     sync.Mutex
	driver storagedriver.StorageDriver
}

// Register makes a slot and gives it a name for the section `storage` of
// configurations. A name can be given once in the life of a process.
func Register(name string) *Slot {
	s := new(Slot)
	factory.Register(name, s)
	return s
}

// Put puts a driver into the slot.
func (s *Slot) Put(driver storagedriver.StorageDriver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.driver = driver
}

// Create implements factory.StorageDriverFactory.
func (s *Slot) Create(context.Context, map[string]any) (storagedriver.StorageDriver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.driver == nil {
		return nil, errors.New("no storage driver is in the slot")
	}
	return s.driver, nil
}
