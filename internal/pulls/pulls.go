// Package pulls records which manifests clients have pulled, for the rules of retention
// that ask for it, and reads these records for the collector.
package pulls

import (
	"context"
	"fmt"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/records"
	"github.com/oras-distribution/registry/internal/retention"
)

// pulled is the key of the records of pulls: below it are the manifests.
const pulled = "pulled"

func key(d digest.Digest) string { return pulled + "/" + d.Algorithm().String() + "/" + d.Encoded() }

// Folder is the folder of the records of a repository. Its entries are <alg>/<hex>.
func Folder(repository string) string {
	return layout.Records(repository, retention.Name) + "/" + pulled
}

// Of is the folder of the records of one manifest.
func Of(repository string, d digest.Digest) string {
	return layout.Records(repository, retention.Name) + "/" + key(d)
}

// Records are the records of a storage tree.
type Records struct{ records *records.Records }

// Open opens the records of a storage tree.
func Open(driver storagedriver.StorageDriver) Records {
	return Records{records.New(driver, retention.Name)}
}

// Last is when it was last recorded that a manifest was pulled, zero if it never was.
func (r Records) Last(ctx context.Context, repository string, d digest.Digest) (time.Time, error) {
	return r.records.Last(ctx, repository, key(d))
}

// The registries with a rule say again and again that they record the pulls that it asks
// for. Pulls while nobody has said so for longer than a record may be inexact may be missing.

// recording is the key of what they say: since when there is no gap.
func recording(rule *retention.Rule) string { return "recording/" + rule.ID() }

// Since is since when the pulls that a rule asks for have been recorded without a gap, zero
// if they are not now.
func (r Records) Since(ctx context.Context, rule *retention.Rule, now time.Time) (since time.Time, err error) {
	content, at, err := r.records.Newest(ctx, "", recording(rule))
	if err != nil || now.Sub(at) > rule.Inexact() {
		return time.Time{}, err
	}
	if err := since.UnmarshalText(content); err != nil {
		return time.Time{}, nil //nolint:nilerr // a record that says nothing is none
	}
	return since, nil
}

// record records that a manifest was pulled.
func (r Records) record(ctx context.Context, repository string, d digest.Digest, at time.Time) error {
	return r.records.Add(ctx, repository, key(d), nil, at)
}

// goOn says that the pulls that a rule asks for are recorded.
func (r Records) goOn(ctx context.Context, rule *retention.Rule, now time.Time) error {
	since, err := r.Since(ctx, rule, now)
	if err != nil {
		return err
	}
	if since.IsZero() {
		since = now
	}
	text, err := since.MarshalText()
	if err != nil {
		return fmt.Errorf("encoding a time: %w", err)
	}
	return r.records.Add(ctx, "", recording(rule), text, now)
}
