package documents

import (
	"regexp"
	"strings"
)

// Link is a link of a page to something in the project.
type Link struct {
	// Path is relative to the page's folder; it is empty for the page itself.
	Path string
	// Anchor is the heading, as it stands in the link.
	Anchor string
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links are the page's links to other pages, files and folders of the project.
func (p Page) Links() (links []Link) {
	for _, match := range link.FindAllStringSubmatch(p.Prose(), -1) {
		if strings.Contains(match[1], ":") {
			continue // a URL
		}
		path, anchor, _ := strings.Cut(match[1], "#")
		links = append(links, Link{path, anchor})
	}
	return links
}

// Anchors are the names by which links reach the page's headings, as GitHub makes them.
func (p Page) Anchors() (anchors []string) {
	for _, heading := range p.Headings() {
		heading = link.ReplaceAllString(heading, "")
		kept := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r):
				return r
			}
			return -1
		}, strings.ToLower(heading))
		anchors = append(anchors, kept)
	}
	return anchors
}
