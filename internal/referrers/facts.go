package referrers

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
)

// facts is which subject each of some manifests names, empty for one that names
// none: what its bytes say, so that it need not be read again to know.
type facts map[digest.Digest]digest.Digest

const factsMagic = "manifests/1"

// encode writes a line with the repository and a digest over all that follows,
// then a line for each manifest: its digest, and its subject if it has one. types
// is the fingerprint of those that the manifests were read with.
func (f facts) encode(repository, types string) []byte {
	var body strings.Builder
	for d, subject := range f {
		body.WriteString(strings.TrimSuffix(string(d+" "+subject), " ") + "\n")
	}
	return []byte(factsHead(repository, types, body.String()) + body.String())
}

// factsHead binds the file to its repository: that a referrers-tag index has been
// read there says nothing about another one.
func factsHead(repository, types, body string) string {
	return fmt.Sprintf("%s %s %s %s\n", factsMagic, repository, types, digest.FromString(repository+"\n"+body))
}

// parseFacts reads what encode wrote for that repository. A file that is not
// whole, or not this repository's, counts as none.
func parseFacts(repository, types, file string) facts {
	head, body, _ := strings.Cut(file, "\n")
	if head+"\n" != factsHead(repository, types, body) {
		return facts{}
	}
	f := make(facts, strings.Count(body, "\n"))
	for line := range strings.Lines(body) {
		d, subject, named := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if digest.Digest(d).Validate() == nil && (!named || digest.Digest(subject).Validate() == nil) {
			f[digest.Digest(d)] = digest.Digest(subject)
		}
	}
	return f
}

// readFacts reads the facts of a repository that has so many manifests, with those
// that are still to be written.
func (x *Index) readFacts(ctx context.Context, repository string, manifests int) (facts, error) {
	const most, spare = 512, 1 << 20 // bytes for a manifest, and for some that are gone
	f := facts{}
	err := x.readDerived(ctx, repository, layout.DerivedManifests(repository), manifests*most+spare, func(content []byte) {
		f = parseFacts(repository, x.types, string(content))
	})
	maps.Copy(f, x.notes.of(repository))
	return f, err
}

// readDerived reads a derived file. One that is not there, or that cannot be read,
// counts as none: what it would say is read from the manifests.
func (x *Index) readDerived(ctx context.Context, repository, file string, limit int, use func(content []byte)) error {
	err := x.reader.Derived(ctx, file, limit, use)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !layout.IsNotFound(err) {
		x.failed(repository, fmt.Errorf("%s counts as none: %w", file, err))
	}
	return nil
}

func (x *Index) writeFacts(ctx context.Context, repository string, f facts) error {
	if err := x.driver.PutContent(ctx, layout.DerivedManifests(repository), f.encode(repository, x.types)); err != nil {
		return fmt.Errorf("writing what is known of the manifests of %s: %w", repository, err)
	}
	return nil
}
