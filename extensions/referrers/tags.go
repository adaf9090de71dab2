package referrers

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions/layout"
	"github.com/oras-distribution/registry/extensions/manifest"
)

// referrersTag is the form of the tags of the referrers tag schema
// (distribution-spec v1.1, "Referrers Tag Schema").
var referrersTag = regexp.MustCompile(`^(sha256|sha384|sha512)-([0-9a-f]{64,128})$`)

// readTags links all that referrers-tag indexes list, for clients wrote those
// while the registry had no referrers API ("Enabling the Referrers API").
func (s *scanner) readTags(ctx context.Context) error {
	paths, err := s.index.driver.List(ctx, layout.Tags(s.repository))
	if err != nil && !isNotFound(err) {
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

// hasSubject reports whether a manifest names a subject itself. One that other
// indexes have attached has to be read to tell.
func (s *scanner) hasSubject(ctx context.Context, d digest.Digest) (bool, error) {
	if len(s.known.subjects(d)) == 0 {
		return false, nil
	}
	content, err := s.index.content(ctx, d)
	if errors.Is(err, errNoContent) || errors.Is(err, errCorrupt) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	m, err := manifest.Parse(content)
	return err != nil || m.Subject != nil, nil
}

func (s *scanner) readTag(ctx context.Context, tag string, subject digest.Digest) error {
	x := s.index
	current, err := x.driver.GetContent(ctx, layout.TagCurrent(s.repository, tag))
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading tag %s of %s: %w", tag, s.repository, err)
	}
	d := digest.Digest(strings.TrimSpace(string(current)))
	if d.Validate() != nil || !s.isPresent(d) {
		return nil
	}
	content, err := x.content(ctx, d)
	if errors.Is(err, errNoContent) || errors.Is(err, errCorrupt) {
		x.options.Observer.Skipped(s.repository, subject, d, err)
		return nil
	}
	if err != nil {
		return err
	}
	m, err := manifest.Parse(content)
	if err != nil || m.MediaType != v1.MediaTypeImageIndex {
		return nil
	}
	for _, listed := range m.References {
		if !s.isPresent(listed.Digest) {
			continue
		}
		switch own, err := s.hasSubject(ctx, listed.Digest); {
		case err != nil:
			return err
		case own:
			continue // linked by it already
		}
		linked, err := s.link(ctx, subject, listed.Digest)
		if err != nil {
			return err
		}
		if linked {
			s.known.add(listed.Digest, subject)
		}
	}
	return nil
}
