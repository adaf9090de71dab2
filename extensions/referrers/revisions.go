package referrers

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
)

// revisions is which manifests of a repository have been looked at, and which
// subjects they are linked to: what a digest stands for never changes, so none
// of them has to be read again.
type revisions struct {
	// complete says that the referrers-tag indexes have been looked at too.
	complete bool
	// known has no subject for most manifests, more than one for few.
	known map[digest.Digest][]digest.Digest
}

const revisionsMagic = "revisions/1"

func (r *revisions) subjects(d digest.Digest) []digest.Digest { return r.known[d] }

func (r *revisions) add(d, subject digest.Digest) {
	list := r.known[d]
	for _, s := range list {
		if s == subject {
			return
		}
	}
	if subject != "" {
		list = append(list, subject)
	}
	r.known[d] = list
}

// encode writes a line with the repository, the state and a digest over the
// rest, then a line for each manifest: its digest, and its subjects.
func (r *revisions) encode(repository string) []byte {
	lines := make([]string, 0, len(r.known))
	for d, subjects := range r.known {
		line := d.String()
		for _, s := range subjects {
			line += " " + s.String()
		}
		lines = append(lines, line)
	}
	sort.Strings(lines)
	body := strings.Join(lines, "\n") + "\n"
	state := "partial"
	if r.complete {
		state = "complete"
	}
	return []byte(revisionsHead(repository, state, body) + body)
}

func revisionsHead(repository, state, body string) string {
	sum := digest.FromString(repository + " " + state + "\n" + body)
	return fmt.Sprintf("%s %s %s %s\n", revisionsMagic, repository, state, sum)
}

// parseRevisions reads what encode wrote for that repository. A file that is
// not whole, or not this repository's, counts as none.
func parseRevisions(repository string, file []byte) *revisions {
	r := &revisions{known: map[digest.Digest][]digest.Digest{}}
	head, body, _ := bytes.Cut(file, []byte("\n"))
	fields := strings.Fields(string(head))
	if len(fields) != 4 || string(head)+"\n" != revisionsHead(repository, fields[2], string(body)) {
		return r
	}
	for line := range strings.Lines(string(body)) {
		digests := strings.Fields(line)
		if len(digests) == 0 || !isManifestDigest(digests[0]) {
			continue
		}
		var subjects []digest.Digest
		for _, s := range digests[1:] {
			if d := digest.Digest(s); d.Validate() == nil {
				subjects = append(subjects, d)
			}
		}
		r.known[digest.Digest(digests[0])] = subjects
	}
	r.complete = fields[2] == "complete"
	return r
}

// isManifestDigest reports whether text is a digest that a manifest can have.
func isManifestDigest(text string) bool {
	hex, ok := strings.CutPrefix(text, digest.Canonical.String()+":")
	return ok && isHex(hex)
}

func (x *Index) readRevisions(ctx context.Context, repository string) (*revisions, error) {
	file, err := x.driver.GetContent(ctx, layout.DerivedRevisions(repository))
	if err != nil && !isNotFound(err) {
		return nil, fmt.Errorf("reading the scanned revisions of %s: %w", repository, err)
	}
	return parseRevisions(repository, file), nil
}

func (x *Index) writeRevisions(ctx context.Context, repository string, r *revisions) error {
	if err := x.driver.PutContent(ctx, layout.DerivedRevisions(repository), r.encode(repository)); err != nil {
		return fmt.Errorf("writing the scanned revisions of %s: %w", repository, err)
	}
	return nil
}
