package harness

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// Seed writes one repository directly into a storage tree, as a registry would leave it,
// where pushing takes too long. Its methods may be called from many
// goroutines.
type Seed struct {
	// Repository is the repository's name.
	Repository string

	t   testing.TB
	put func(path string, content []byte) error
}

// NewSeed makes a Seed for a repository of the filesystem driver. It does not sync its
// files to disk.
func NewSeed(t testing.TB, root, repository string) *Seed {
	return &Seed{Repository: repository, t: t, put: func(path string, content []byte) error {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		return os.WriteFile(file, content, 0o666)
	}}
}

// NewDriverSeed makes a Seed for a repository of any storage driver.
func NewDriverSeed(t testing.TB, driver storagedriver.StorageDriver, repository string) *Seed {
	return &Seed{Repository: repository, t: t, put: func(path string, content []byte) error {
		return driver.PutContent(context.Background(), path, content)
	}}
}

// Blob stores a blob.
func (s *Seed) Blob(content []byte) Descriptor {
	d := BlobDescriptor(content)
	s.Put(layout.BlobData(d.Digest), content)
	s.Put(layout.LayerLink(s.Repository, d.Digest), []byte(d.Digest))
	return d
}

// Manifest stores a manifest without a link to its subject, as a stock registry
// does.
func (s *Seed) Manifest(m Manifest) Descriptor {
	d := m.Descriptor()
	s.Put(layout.BlobData(d.Digest), m.Bytes())
	s.Put(layout.RevisionLink(s.Repository, d.Digest), []byte(d.Digest))
	return d
}

// Referrer stores a manifest and links it to its subject.
func (s *Seed) Referrer(m Manifest) Descriptor {
	d := s.Manifest(m)
	s.Link(m.Subject.Digest, d.Digest)
	return d
}

// Link links a manifest, which need not be there, to a subject.
func (s *Seed) Link(subject, referrer digest.Digest) {
	if referrer.Algorithm() != digest.Canonical {
		s.Put(layout.OtherReferrers(s.Repository, subject), []byte(subject))
	}
	s.Put(layout.ReferrerLink(s.Repository, subject, referrer), []byte(referrer))
}

// Many calls one for each number below count, several at a time.
func (s *Seed) Many(count int, one func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				one(int(i))
			}
		})
	}
	workers.Wait()
}

// Put stores a file.
func (s *Seed) Put(path string, content []byte) {
	if err := s.put(path, content); err != nil {
		s.t.Error(err)
	}
}
