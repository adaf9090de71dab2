package browse

import (
	"errors"

	"github.com/maypok86/otter/v2"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// facts is what a list says of a manifest. It is what bytes say that cannot change, so it
// can be kept; that the manifest is there is checked when the link is followed.
type facts struct {
	kind      class
	platforms []string
	size      int64         // of what one platform needs; -1: unknown
	sizeOf    string        // that platform, if there are several
	more      digest.Digest // what has to be read to know the rest: a configuration, or the first image of an index
	index     bool
}

// manifestKey tells manifests apart: knowing the digest of one in another repository is no
// reason to be told about it.
type manifestKey struct {
	repository string
	digest     digest.Digest
}

// factsKept is how much memory the facts about manifests may take, and factWeight about
// what they take for one beside its texts, in bytes.
const (
	factsKept  = 8 << 20
	factWeight = 400
)

type factCache = otter.Cache[manifestKey, *facts]

func newFactCache() *factCache {
	return otter.Must(&otter.Options[manifestKey, *facts]{
		MaximumWeight: factsKept,
		Weigher: func(key manifestKey, f *facts) uint32 {
			weight := factWeight + len(key.repository) + len(f.kind.Name)
			for _, name := range f.platforms {
				weight += len(name) + 16
			}
			return uint32(weight)
		},
	})
}

// maxPlatforms is how many platforms of an image are kept and shown.
const maxPlatforms = 100

// factsOf reads what a manifest says itself.
func (v *view) factsOf(d digest.Digest) (*facts, error) {
	key := manifestKey{v.name(), d}
	if f, ok := v.facts.GetIfPresent(key); ok {
		return f, nil
	}
	m, err := v.manifest(d)
	if err != nil {
		return nil, err
	}
	f := &facts{kind: classify(m.kind(), m.Annotations), size: -1, index: m.isIndex()}
	switch {
	case f.index && m.ArtifactType == "":
		f.list(m)
	case m.isImage():
		f.size, f.more = m.total(map[digest.Digest]bool{}), m.Config.Digest
		if m.Config.Size > maxConfiguration {
			f.more = ""
		}
	default:
		f.size = m.total(map[digest.Digest]bool{})
	}
	v.facts.Set(key, f)
	return f, nil
}

// list takes the platforms from an index.
func (f *facts) list(m *document) {
	f.kind = class{"Multi-platform image", "image"}
	var first *v1.Descriptor
	for i, child := range m.Manifests {
		name := platformOf(child)
		if name == "" || len(f.platforms) == maxPlatforms {
			continue
		}
		if f.platforms = append(f.platforms, name); first == nil {
			first = &m.Manifests[i]
		}
	}
	if first == nil {
		f.kind = class{"Index", "image"}
		return
	}
	f.more, f.sizeOf = first.Digest, f.platforms[0]
}

// complete reads what the manifest only refers to, if the page may cost that much more.
// What cannot be read stays unknown.
func (v *view) complete(d digest.Digest, f *facts) *facts {
	if f.more == "" {
		return f
	}
	all := *f
	all.more = ""
	var err error
	if f.index {
		var child *document
		if child, err = v.manifest(f.more); err == nil {
			all.size = child.total(map[digest.Digest]bool{})
		}
	} else {
		all.platforms, err = v.platformIn(f.more)
	}
	switch {
	case errors.Is(err, errBudget):
		return f
	case err == nil:
		v.facts.Set(manifestKey{v.name(), d}, &all)
	}
	return &all
}

// platformIn is the platform that the configuration of an image names.
func (v *view) platformIn(d digest.Digest) ([]string, error) {
	if !v.take(costOfBlob) {
		return nil, errBudget
	}
	content, err := v.blob(d, maxConfiguration)
	if err != nil {
		return nil, err
	}
	c, err := parseConfiguration(content)
	if err != nil || c.platform() == "" {
		return nil, nil // which is all that can be known
	}
	return []string{c.platform()}, nil
}
