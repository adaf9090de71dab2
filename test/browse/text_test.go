package browse

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"
)

// must is a text as JSON.
func must(text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return quoted
}

// escape is a text as it stands in a path or query.
func escape(text string) string { return url.PathEscape(text) }

// The elements and attributes that the pages consist of.
var (
	elements = strings.Fields(`html head meta title link body a header img form span bdi button main nav ol ul li h1 h2 h3 p input label
		pre code section table caption thead tbody tr th td time dl div dt dd details summary figure figcaption svg g path rect text`)
	attributes = strings.Fields(`lang charset name content rel href class src alt width height id method action role for type value
		autocomplete autocapitalize spellcheck aria-label aria-labelledby aria-current tabindex scope data-label datetime title
		xmlns viewbox x y rx d`)
)

// element is an element of a page.
type element struct {
	name       string
	attributes map[string]string
}

// parse reads a page as a browser does.
func parse(page string) (all []element) {
	for tokens := html.NewTokenizer(strings.NewReader(page)); ; {
		switch tokens.Next() {
		case html.ErrorToken:
			return all
		case html.CommentToken:
			all = append(all, element{name: "comment"})
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			e := element{token.Data, map[string]string{}}
			for _, a := range token.Attr {
				e.attributes[a.Key] = a.Val
			}
			all = append(all, e)
		}
	}
}

// targets are all addresses that a page loads, links to or sends forms to.
func targets(page string) (all []string) {
	for _, e := range parse(page) {
		for _, name := range []string{"href", "src", "action"} {
			if target, ok := e.attributes[name]; ok {
				all = append(all, target)
			}
		}
	}
	return all
}

// checkHarmless looks for elements and attributes that the pages do not have, and for
// links that lead away from them.
func checkHarmless(t *testing.T, path, page string) {
	t.Helper()
	for _, e := range parse(page) {
		if !slices.Contains(elements, e.name) {
			t.Errorf("%s has an element %s: %v", path, e.name, e.attributes)
		}
		for name, value := range e.attributes {
			if !slices.Contains(attributes, name) {
				t.Errorf("%s has an attribute %s=%q of %s", path, name, value, e.name)
			}
		}
	}
	if at := strings.IndexFunc(page, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) }); at >= 0 {
		t.Errorf("%s changes the order of the characters: %q", path, page[max(0, at-20):at+10])
	}
	for _, target := range targets(page) {
		if !strings.HasPrefix(target, "/ui/") && target != "#content" {
			t.Errorf("%s leads to %q", path, target)
		}
	}
}
