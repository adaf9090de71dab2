package gc

import (
	"context"
	"path"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// findGarbage finds the blobs that no repository keeps. It runs after all repositories
// have been decided.
func (c *collector) findGarbage(ctx context.Context) error {
	if c.blind {
		return nil
	}
	algorithms, _, err := c.store.list(ctx, layout.Blobs)
	if err != nil {
		return c.trouble(ctx, nil, err)
	}
	var found sync.Mutex
	for _, algorithm := range algorithms {
		prefixes, _, err := c.store.list(ctx, algorithm)
		if err != nil {
			if err := c.trouble(ctx, nil, err); err != nil {
				return err
			}
		}
		err = each(ctx, c.store, prefixes, func(ctx context.Context, prefix string) error {
			garbage, err := c.garbageIn(ctx, digest.Algorithm(path.Base(algorithm)), prefix)
			if err != nil {
				return c.trouble(ctx, nil, err)
			}
			found.Lock()
			defer found.Unlock()
			c.garbage = append(c.garbage, garbage...)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// garbageIn finds garbage among the blobs whose hex digits begin with the same two.
func (c *collector) garbageIn(ctx context.Context, algorithm digest.Algorithm, prefix string) (ids, error) {
	blobs, err := c.store.digestsOf(ctx, algorithm, prefix, nil)
	if err != nil {
		return nil, err
	}
	var garbage ids
	for _, d := range blobs {
		if path.Dir(layout.BlobFolder(d)) != prefix {
			continue // not where a registry stores it
		}
		goes, err := c.isGarbage(ctx, d)
		if err != nil {
			return garbage, err
		}
		if goes {
			garbage = append(garbage, c.digests.id(d))
		}
	}
	c.options.Progress.Add("blobs", int64(len(blobs)))
	return garbage, nil
}

// isGarbage reports whether to remove a blob, and counts it if it is kept. It asks the
// storage for sizes that no manifest states, and for the sizes of garbage.
func (c *collector) isGarbage(ctx context.Context, d digest.Digest) (bool, error) {
	size, kept := c.digests.look(c.digests.id(d))
	if !kept || size == unknown {
		info, err := c.store.stat(ctx, layout.BlobData(d))
		if err != nil {
			return false, err
		}
		if info == nil {
			if kept || c.online { // perhaps about to be filled
				return false, nil
			}
			return c.isHollow(ctx, d)
		}
		size = info.Size()
		c.digests.sized(d, size)
		if !kept && !c.isYoung(info) {
			return true, nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Blobs.Kept++
	c.report.Bytes.Kept += size
	return false, nil
}

// isHollow reports whether to remove the folder of a blob without bytes: an interrupted
// upload has left it behind, unless another one is just about to fill it.
func (c *collector) isHollow(ctx context.Context, d digest.Digest) (bool, error) {
	info, err := c.store.stat(ctx, layout.BlobFolder(d))
	return err == nil && info != nil && !c.isYoung(info), err
}
