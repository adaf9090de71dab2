package referrers

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// readTags attaches all that the referrers-tag indexes list which this scan has
// read: clients wrote those while the registry had no referrers API ("Enabling
// the Referrers API").
func (s *scanner) readTags(ctx context.Context) error {
	paths, err := s.index.driver.List(ctx, layout.Tags(s.repository))
	if err != nil && !layout.IsNotFound(err) {
		return fmt.Errorf("listing the tags of %s: %w", s.repository, err)
	}
	for _, p := range paths {
		tag := path.Base(p)
		subject := s.subjectOf(tag)
		if subject == "" {
			continue
		}
		if err := s.readTag(ctx, tag, subject); err != nil {
			return err
		}
		s.step()
	}
	return nil
}

// subjectOf is the subject that a tag of the referrers tag schema stands for, empty if the
// tag is another one, or if the subject of a shortened one is not known.
func (s *scanner) subjectOf(tag string) digest.Digest {
	if subject, ok := manifest.SubjectOfTag(tag); !ok || subject != "" {
		return subject
	}
	if s.shortened == nil {
		s.shorten()
	}
	return s.shortened[tag]
}

// shortenedTo is how many characters of a digest a tag of the schema has.
const shortenedTo = 64

// shorten finds the digests of which a tag of the schema has only the beginning: no two
// manifests begin with the same 64 characters. Subjects that are not in the repository, or
// not yet, are known where a manifest names them; anyone could make up two of those that
// begin alike.
func (s *scanner) shorten() {
	s.shortened = map[string]digest.Digest{}
	add := func(d digest.Digest, sure bool) {
		if len(d.Encoded()) <= shortenedTo {
			return
		}
		tag := d.Algorithm().String() + "-" + d.Encoded()[:shortenedTo]
		if other, taken := s.shortened[tag]; taken && other != d && !sure {
			d = ""
		}
		s.shortened[tag] = d
	}
	for _, subject := range s.known {
		if subject != "" {
			add(subject, false)
		}
	}
	for d := range s.present {
		add(d, true)
	}
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
	err = x.reader.Manifest(ctx, d, func(content []byte) error {
		m, err := x.options.Types.Parse(content)
		if err != nil {
			return nil //nolint:nilerr // such an index lists nothing
		}
		for _, listed := range m.References {
			if s.present[listed.Digest] && s.known[listed.Digest] == "" && s.unreadable[listed.Digest] == nil {
				s.attached = append(s.attached, pair{subject, listed.Digest})
			}
		}
		return nil
	})
	if layout.IsBroken(err) {
		return nil
	}
	return err
}
