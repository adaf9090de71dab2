package referrers

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// referrersTag is the form of the tags of the referrers tag schema
// (distribution-spec v1.1, "Referrers Tag Schema").
var referrersTag = regexp.MustCompile(`^(sha256|sha384|sha512)-([0-9a-f]{64,128})$`)

// readTags links all that the referrers-tag indexes list which this scan has
// read: clients wrote those while the registry had no referrers API ("Enabling
// the Referrers API").
func (s *scanner) readTags(ctx context.Context) error {
	paths, err := s.index.driver.List(ctx, layout.Tags(s.repository))
	if err != nil && !layout.IsNotFound(err) {
		return fmt.Errorf("listing the tags of %s: %w", s.repository, err)
	}
	for _, p := range paths {
		tag := path.Base(p)
		parts := referrersTag.FindStringSubmatch(tag)
		if parts == nil {
			continue
		}
		subject := digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
		if subject.Validate() != nil {
			continue
		}
		if err := s.readTag(ctx, tag, subject); err != nil {
			return err
		}
		s.step()
	}
	return nil
}

// readTag attaches what one index lists. What names a subject itself is linked by
// that.
func (s *scanner) readTag(ctx context.Context, tag string, subject digest.Digest) error {
	x := s.index
	current, err := x.driver.GetContent(ctx, layout.TagCurrent(s.repository, tag))
	if layout.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading tag %s of %s: %w", tag, s.repository, err)
	}
	d := digest.Digest(strings.TrimSpace(string(current)))
	if !slices.Contains(s.indexes, d) {
		return nil
	}
	m, err := x.parse(ctx, d)
	if err != nil || m == nil {
		return err
	}
	var attached pairs
	for _, listed := range m.References {
		if s.present[listed.Digest] && s.known[listed.Digest] == "" && s.unreadable[listed.Digest] == nil {
			attached = append(attached, pair{subject, listed.Digest})
		}
	}
	left, err := s.settle(ctx, attached)
	s.pairs = append(s.pairs, left...)
	return err
}
