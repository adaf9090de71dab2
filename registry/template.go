package registry

import "strings"

// template is the path of a route, with {name} for a repository's name, which
// may have slashes, and after it maybe {reference}, a single segment.
type template struct {
	before, between, after string
	named, referenced      bool
}

func newTemplate(path string) template {
	var t template
	t.before, t.between, t.named = strings.Cut(path, "{name}")
	t.between, t.after, t.referenced = strings.Cut(t.between, "{reference}")
	return t
}

// match takes a path apart. What it finds for a name is not known to be valid.
func (t template) match(path string) (name, reference string, ok bool) {
	if !t.named {
		return "", "", path == t.before
	}
	rest, ok := strings.CutPrefix(path, t.before)
	if !ok {
		return "", "", false
	}
	if !t.referenced {
		name, ok = strings.CutSuffix(rest, t.between)
		return name, "", ok
	}
	if rest, ok = strings.CutSuffix(rest, t.after); !ok {
		return "", "", false
	}
	cut := strings.LastIndex(rest, t.between)
	if cut < 0 {
		return "", "", false
	}
	name, reference = rest[:cut], rest[cut+len(t.between):]
	return name, reference, reference != "" && !strings.Contains(reference, "/")
}

func (t template) expand(name, reference string) string {
	path := t.before
	if t.named {
		path += name + t.between
	}
	if t.referenced {
		path += reference + t.after
	}
	return path
}
