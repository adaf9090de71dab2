// Package convert converts stored manifests of types that current clients do not
// know to OCI image manifests. The conversions are stored beside the originals, in
// the same way as pushed manifests.
//
// A referrer of a converted manifest is attached to the conversion, so subjects
// come before their referrers. The bytes of a conversion depend on nothing but the
// original and its subject: repeating a run, or running two at once, stores the
// same again.
package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/progress"
	"github.com/oras-distribution/registry/internal/referrers"
)

// State is what became of a manifest.
type State string

// The states.
const (
	Converted State = "converted" // by this run
	Pending   State = "pending"   // a run that is not dry would convert it
	Unchanged State = "unchanged" // an earlier run has converted it
	Skipped   State = "skipped"   // its subject is not in the repository
	Failed    State = "failed"
)

// Result is what became of one manifest.
type Result struct {
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	State      State         `json:"state"`
	// Image is the digest of the conversion.
	Image digest.Digest `json:"image,omitempty"`
	// Reason says why there is none.
	Reason string `json:"reason,omitempty"`
}

// Options say how a Converter works.
type Options struct {
	// Types are the known types of manifests.
	Types *manifest.Types
	// DryRun stores nothing.
	DryRun bool
	// Concurrency is how many manifests are read or converted at once.
	Concurrency int
	// Work begins the storing of one conversion, which has to use the context that is returned,
	// and is not done if end fails: see extensions.Services. It may be nil.
	Work func(ctx context.Context) (work context.Context, end func() error)
	// Progress counts what is done. It may be nil.
	Progress *progress.Reporter
	// Report is called for each result, one at a time, subjects before referrers.
	Report func(Result)
}

// Converter converts the manifests of repositories.
type Converter struct {
	driver    storagedriver.StorageDriver
	reader    *layout.Reader
	inner     *layout.Reader // for reading a manifest while another one is held
	namespace distribution.Namespace
	index     *referrers.Index
	options   Options
	troubles  atomic.Int64 // errors of the storage
}

// New makes a Converter. The namespace links what is put into it to its subject.
func New(driver storagedriver.StorageDriver, namespace distribution.Namespace, index *referrers.Index, options Options) *Converter {
	if options.Work == nil {
		options.Work = func(ctx context.Context) (context.Context, func() error) { return ctx, func() error { return nil } }
	}
	return &Converter{
		driver: driver, reader: layout.NewReader(driver, options.Concurrency), inner: layout.NewReader(driver, options.Concurrency),
		namespace: namespace, index: index, options: options,
	}
}

// maxTroubles is how many errors of the storage end a run. Each of them is reported
// as the failure of one manifest.
const maxTroubles = 100

// Repository converts the manifests of one repository. The error is about the
// storage as a whole; what is wrong with one manifest is reported.
func (c *Converter) Repository(ctx context.Context, name reference.Named) error {
	repository, err := c.namespace.Repository(ctx, name)
	if err != nil {
		return err
	}
	r := &run{
		Converter: c, name: name.Name(), blobs: repository.Blobs(ctx),
		artifacts: map[digest.Digest]artifact{}, unreadable: map[digest.Digest]bool{},
		images: map[digest.Digest]v1.Descriptor{}, stored: map[digest.Digest]bool{},
		skipped: map[digest.Digest]bool{}, there: map[digest.Digest]bool{},
	}
	if r.manifests, err = repository.Manifests(ctx); err != nil {
		return err
	}
	found, err := layout.ListRevisions(ctx, layout.Names(c.driver), r.name)
	if err != nil {
		return err
	}
	slices.Sort(found)
	var failed []Result
	err = r.each(ctx, found, r.read, func(result Result) { failed = append(failed, result) })
	if err == nil {
		err = r.convertAll(ctx)
	}
	for _, result := range failed {
		if !r.stored[result.Digest] { // a conversion that was damaged has been stored again
			c.options.Report(result)
		}
	}
	return err
}

// artifact is a manifest to convert.
type artifact struct {
	kind    manifest.Type
	subject digest.Digest // empty if it has none
}

// run is the conversion of one repository.
type run struct {
	*Converter
	name      string
	blobs     distribution.BlobStore
	manifests distribution.ManifestService

	mu         sync.Mutex
	artifacts  map[digest.Digest]artifact
	unreadable map[digest.Digest]bool
	images     map[digest.Digest]v1.Descriptor // of the artifacts that have been converted
	stored     map[digest.Digest]bool          // by this run
	skipped    map[digest.Digest]bool
	there      map[digest.Digest]bool // whether other subjects are in the repository
	hasEmpty   bool                   // the empty blob is
}

// each handles manifests, several at once, and reports their results in the order
// of the list. A result without state is not reported.
func (r *run) each(ctx context.Context, list []digest.Digest,
	handle func(context.Context, digest.Digest) (Result, error), report func(Result),
) error {
	const part = 1000
	for chunk := range slices.Chunk(list, part) {
		results := make([]Result, len(chunk))
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(r.options.Concurrency)
		for i, d := range chunk {
			group.Go(func() error {
				result, err := handle(groupCtx, d)
				if err = r.judge(groupCtx, &result, err); err == nil && result.State != "" {
					result.Repository, result.Digest = r.name, d
					results[i] = result
				}
				return err
			})
		}
		err := group.Wait()
		for _, result := range results {
			if result.State != "" {
				report(result)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// problem is what is wrong with a single manifest.
type problem string

// Error implements error.
func (p problem) Error() string { return string(p) }

// fatal is an error that every other conversion would meet as well.
type fatal struct{ error }

// judge makes an error the failure of one manifest, unless it ends the run.
func (r *run) judge(ctx context.Context, result *Result, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.As(err, new(fatal)) {
		return err
	}
	*result = Result{State: Failed, Reason: err.Error()}
	if errors.As(err, new(problem)) || layout.IsBroken(err) {
		return nil
	}
	if r.troubles.Add(1) >= maxTroubles {
		return fmt.Errorf("%d errors of the storage, the last: %w", maxTroubles, err)
	}
	return nil
}

// read finds out whether a manifest is to be converted. Only failures are results.
func (r *run) read(ctx context.Context, d digest.Digest) (Result, error) {
	r.options.Progress.Add("manifests", 1)
	var found artifact
	err := r.reader.Manifest(ctx, d, func(content []byte) error {
		m, err := r.options.Types.Describe(content)
		switch {
		case errors.Is(err, manifest.ErrUnknown):
			return nil
		case err != nil:
			return problem(err.Error())
		}
		if kind, _ := r.options.Types.Of(m.MediaType); kind.Convertible {
			found.kind = kind
			if m.Subject != nil {
				found.subject = m.Subject.Digest
			}
		}
		return nil
	})
	if err == nil && !found.kind.Convertible {
		return Result{}, nil
	}
	there, thereErr := r.index.HasRevision(ctx, r.name, d)
	if err = cmp.Or(thereErr, err); thereErr == nil && !there {
		return Result{}, nil // it was deleted
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.unreadable[d] = true
		return Result{}, err
	}
	r.artifacts[d] = found
	return Result{}, nil
}

// convertAll converts the manifests that have been found: those whose subject is
// not converted itself, then their referrers, and so on.
func (r *run) convertAll(ctx context.Context) error {
	referrers := map[digest.Digest][]digest.Digest{}
	var next []digest.Digest
	for d, a := range r.artifacts {
		if _, chained := r.artifacts[a.subject]; chained {
			referrers[a.subject] = append(referrers[a.subject], d)
		} else {
			next = append(next, d)
		}
	}
	left := len(r.artifacts)
	for len(next) > 0 {
		slices.Sort(next)
		if err := r.each(ctx, next, r.convert, r.options.Report); err != nil {
			return err
		}
		left -= len(next)
		var after []digest.Digest
		for _, d := range next {
			after = append(after, referrers[d]...)
			delete(referrers, d)
		}
		next = after
	}
	if left > 0 { // their digests would have to be known before their bytes
		return fmt.Errorf("%d manifests are their own referrers", left)
	}
	return nil
}
