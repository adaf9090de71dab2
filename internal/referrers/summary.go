package referrers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// A summary is one file with what the bytes of a subject's referrers say, so that
// a process that has not seen them reads one file and not one for each.

const summaryMagic = "referrers/2"

// encodeSummary writes a line with a digest over all that follows, then a line of
// JSON for each referrer. types is the fingerprint of those that the manifests
// were read with.
func encodeSummary(types string, list []*Referrer) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	for _, r := range list {
		if err := encoder.Encode(r); err != nil {
			return nil, err
		}
	}
	return append([]byte(summaryHead(types, body.Bytes())), body.Bytes()...), nil
}

func summaryHead(types string, body []byte) string {
	return summaryMagic + " " + types + " " + digest.FromBytes(body).String() + "\n"
}

// parseSummary reads what encodeSummary wrote. A file that is not whole counts as
// none.
func parseSummary(types string, file []byte) map[digest.Digest]*Referrer {
	head, body, _ := bytes.Cut(file, []byte("\n"))
	if string(head)+"\n" != summaryHead(types, body) {
		return nil
	}
	stored := make(map[digest.Digest]*Referrer, bytes.Count(body, []byte("\n")))
	decoder := json.NewDecoder(bytes.NewReader(body))
	for decoder.More() {
		r := new(Referrer)
		if decoder.Decode(r) != nil || r.Digest.Validate() != nil {
			return nil
		}
		r.MediaType, r.ArtifactType = intern(r.MediaType), intern(r.ArtifactType)
		stored[r.Digest] = r
	}
	return stored
}

// readSummary reads the summary of a subject, if there is one.
func (x *Index) readSummary(ctx context.Context, key setKey) (stored map[digest.Digest]*Referrer, err error) {
	file := layout.DerivedSubject(key.repository, key.subject)
	err = x.readDerived(ctx, key.repository, file, x.maxSummary(), func(content []byte) { stored = parseSummary(x.types, content) })
	return stored, err
}

// maxSummary is how large a summary may be, in bytes, so that reading it stays
// within the budget.
func (x *Index) maxSummary() int { return x.options.CacheSize / 4 }

func (x *Index) writeSummary(ctx context.Context, key setKey, set *Set) error {
	file, err := encodeSummary(x.types, set.Referrers)
	if err == nil && len(file) > x.maxSummary() {
		return nil // it would not be read
	}
	if err == nil {
		err = x.driver.PutContent(ctx, layout.DerivedSubject(key.repository, key.subject), file)
	}
	if err != nil {
		return fmt.Errorf("writing the summary of %s in %s: %w", key.subject, key.repository, err)
	}
	return nil
}
