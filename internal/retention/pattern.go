package retention

import (
	"regexp"
	"strings"
)

// pattern is a name with wildcards: * stands for any text without a slash, ** for any
// text.
type pattern struct {
	text string
	form *regexp.Regexp
}

func newPattern(text string) pattern {
	var form strings.Builder
	for i, across := range strings.Split(text, "**") {
		if i > 0 {
			form.WriteString(".*")
		}
		for j, within := range strings.Split(across, "*") {
			if j > 0 {
				form.WriteString("[^/]*")
			}
			form.WriteString(regexp.QuoteMeta(within))
		}
	}
	return pattern{text, regexp.MustCompile("^" + form.String() + "$")}
}

type patterns []pattern

// match is the first pattern that a name matches, empty if there is none.
func (list patterns) match(name string) string {
	for _, p := range list {
		if p.form.MatchString(name) {
			return p.text
		}
	}
	return ""
}

func (list patterns) texts() []string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.text
	}
	return texts
}
