package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// shape is what a tree has: repositories of the same size, each with images that have
// ten referrers.
type shape struct {
	repositories, manifests int
	orphans                 int // blobs that nothing needs
}

// group is an image and its referrers.
const group = 11

func (shape) repository(i int) string { return fmt.Sprintf("team-%d/app-%d", i%100, i) }

// subject is the image of a group.
func (s shape) subject(repository, i int) harness.Manifest {
	return harness.OCIImage(config()).Annotated("image", fmt.Sprintf("%d-%d", repository, i))
}

func config() harness.Descriptor {
	d := harness.BlobDescriptor([]byte("{}"))
	d.MediaType = harness.MediaTypeOCIConfig
	return d
}

// write writes the tree as distribution leaves it: no manifest is linked to its subject.
func (s shape) write(root string) error {
	put := func(path string, content []byte) error {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return os.WriteFile(file, content, 0o644)
	}
	if err := put(layout.BlobData(config().Digest), []byte("{}")); err != nil {
		return err
	}
	for i := range s.orphans {
		content := fmt.Appendf(nil, "orphan %d", i)
		if err := put(layout.BlobData(digest.FromBytes(content)), content); err != nil {
			return err
		}
	}
	groups := (s.manifests + group - 1) / group
	return parallel(s.repositories*groups, func(n int) error {
		repository, i := n/groups, n%groups
		name := s.repository(repository)
		if i == 0 {
			if err := put(layout.LayerLink(name, config().Digest), []byte(config().Digest)); err != nil {
				return err
			}
		}
		subject := s.subject(repository, i)
		list := []harness.Manifest{subject}
		for k := range min(group, s.manifests-i*group) - 1 {
			list = append(list, harness.OCIImage(config()).Typed("application/vnd.example.signature.v1+json").To(subject.Descriptor()).
				Annotated(harness.OCICreated, "2026-01-01T00:00:00Z").Annotated("number", fmt.Sprint(k)))
		}
		for _, m := range list {
			d := m.Digest()
			if err := put(layout.BlobData(d), m.Bytes()); err != nil {
				return err
			}
			if err := put(layout.RevisionLink(name, d), []byte(d)); err != nil {
				return err
			}
		}
		return nil
	})
}

// parallel calls one for each number below n, several at a time, until one fails.
func parallel(n int, one func(i int) error) error {
	var next atomic.Int64
	var work sync.WaitGroup
	errs := make(chan error, 2*runtime.NumCPU())
	for range cap(errs) {
		work.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := one(int(i)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	work.Wait()
	close(errs)
	return <-errs
}
