package referrers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions/layout"
)

// summary is the bytes of the referrers of one subject, kept in one file so that
// a process that has not seen them reads one file and not one for each. It proves
// itself: bytes that do not have the digest they are filed under are not taken,
// and a digest that has no link is not asked for.
type summary map[digest.Digest]record

type record struct {
	content []byte
	pushed  time.Time
}

// size is how many bytes of manifests s holds.
func (s summary) size() (size int) {
	for _, r := range s {
		size += len(r.content)
	}
	return size
}

const summaryMagic = "referrers/1\n"

// encode writes, after the magic line, for each manifest a line with the hex
// digits of its digest, the time of its push in nanoseconds and its length, and
// then its bytes.
func (s summary) encode() []byte {
	var out bytes.Buffer
	out.WriteString(summaryMagic)
	for d, r := range s {
		fmt.Fprintf(&out, "%s %d %d\n", d.Encoded(), r.pushed.UnixNano(), len(r.content))
		out.Write(r.content)
	}
	return out.Bytes()
}

// parseSummary reads what encode wrote, as far as it goes.
func parseSummary(file []byte) summary {
	s := summary{}
	in := bufio.NewReader(bytes.NewReader(file))
	if line, err := in.ReadString('\n'); err != nil || line != summaryMagic {
		return s
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return s
		}
		fields := strings.Fields(line)
		if len(fields) != 3 || len(fields[0]) != hex.EncodedLen(digest.Canonical.Size()) {
			return s
		}
		pushed, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return s
		}
		size, err := strconv.Atoi(fields[2])
		if err != nil || size < 0 || size > len(file) {
			return s
		}
		content := make([]byte, size)
		if _, err := io.ReadFull(in, content); err != nil {
			return s
		}
		d := digest.NewDigestFromEncoded(digest.Canonical, fields[0])
		if digest.Canonical.FromBytes(content) == d {
			s[d] = record{content: content, pushed: time.Unix(0, pushed).UTC()}
		}
	}
}

// readSummary reads the summary of a subject. That there is none, or that it is
// broken, is no error.
func (x *Index) readSummary(ctx context.Context, key setKey) (summary, error) {
	file, err := x.driver.GetContent(ctx, layout.DerivedSubject(key.repository, key.subject))
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the summary of %s in %s: %w", key.subject, key.repository, err)
	}
	return parseSummary(file), nil
}

// writeSummary adds fresh to the summary of a subject and drops from it what is
// no longer linked. It reads the file again first, because another replica may
// have written it; what two writers lose to one another is read again later.
func (x *Index) writeSummary(ctx context.Context, key setKey, fresh summary) error {
	links, err := x.links(ctx, key, nil)
	if err != nil {
		return err
	}
	merged, err := x.readSummary(ctx, key)
	if err != nil {
		return err
	}
	kept := make(summary, len(links))
	for _, hex := range links {
		d := digest.NewDigestFromEncoded(digest.Canonical, hex)
		if r, ok := merged[d]; ok {
			kept[d] = r
		}
		if r, ok := fresh[d]; ok {
			kept[d] = r
		}
	}
	path := layout.DerivedSubject(key.repository, key.subject)
	if err := x.driver.PutContent(ctx, path, kept.encode()); err != nil {
		return fmt.Errorf("writing the summary of %s in %s: %w", key.subject, key.repository, err)
	}
	return nil
}
