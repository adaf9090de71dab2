package collection

import storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

// NewSmallReplica is NewReplica with filters that are quick to make.
func NewSmallReplica(driver storagedriver.StorageDriver, options Options) *Replica {
	return newReplica(driver, options.withDefaults(), 1<<10, 1<<10)
}

// Gaps is how often the lease of a replica has run out.
func (r *Replica) Gaps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.validLocked()
	return r.gaps
}

// WithBatches are options that seal so many candidates at once.
func (o RunOptions) WithBatches(size int) RunOptions {
	o.batch = size
	return o
}

// IsValid reports whether the lease of a replica is valid.
func (r *Replica) IsValid() bool { return r.isValid() }

// EncodeCandidates is the file of a run with one batch.
func EncodeCandidates(keys ...Key) []byte { return encodeCandidates(onlineRun, [][]Key{keys}) }
