package router

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"
)

// The places in a template.
const (
	placeName      = "{name}"
	placeReference = "{reference}"
)

// pattern is a template that paths are compared with. Regular expressions would cost
// every request more than a listing does otherwise, pulls and pushes included.
type pattern struct {
	head, middle, tail string // the text around and between the places
	named, referenced  bool   // which places there are
}

func newPattern(template string) (p pattern) {
	p.head, p.tail, p.named = strings.Cut(template, placeName)
	if middle, tail, ok := strings.Cut(p.tail, placeReference); ok {
		p.middle, p.tail, p.referenced = middle, tail, true
	}
	return p
}

// find finds the name and the reference in a path that the template takes. The name is
// as long as possible, and may be empty; the reference is a single segment.
func (p pattern) find(path string) (name, reference string, ok bool) {
	if !p.named {
		return "", "", path == p.head
	}
	if len(path) < len(p.head)+len(p.tail) || !strings.HasPrefix(path, p.head) || !strings.HasSuffix(path, p.tail) {
		return "", "", false
	}
	name = path[len(p.head) : len(path)-len(p.tail)]
	if !p.referenced {
		return name, "", true
	}
	at := strings.LastIndex(name, p.middle)
	if at < 0 {
		return "", "", false
	}
	name, reference = name[:at], name[at+len(p.middle):]
	return name, reference, reference != "" && !strings.Contains(reference, "/")
}

// match is a mux.MatcherFunc.
func (p pattern) match(r *http.Request, match *mux.RouteMatch) bool {
	name, reference, ok := p.find(r.URL.Path)
	switch {
	case ok && p.referenced:
		match.Vars = map[string]string{"name": name, "reference": reference}
	case ok && p.named:
		match.Vars = map[string]string{"name": name}
	}
	return ok
}

// expand puts what a path names into a template.
func expand(template string, vars map[string]string) string {
	return strings.NewReplacer(placeName, vars["name"], placeReference, vars["reference"]).Replace(template)
}
