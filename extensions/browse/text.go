package browse

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/distribution/reference"
	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
)

// What is shown of the texts in manifests, in bytes: of a name, of a value, and of all on
// one page.
const (
	maxName  = 200
	maxValue = 2_000
	maxTexts = 512 << 10
)

// maxPairs is how many annotations or labels of one manifest are shown.
const maxPairs = 100

// clip is the beginning of a text, with a note of how much is missing.
func clip(text string, most int) string {
	if len(text) <= most {
		return visible(text)
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return visible(text[:most]) + fmt.Sprintf("… (%s bytes more)", formatCount(len(text)-most))
}

// visible is a text in which U+FFFD stands for what is no character, and for characters that
// would show the others in another order than the one in which programs read them.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// value is what the page shows of a text in a manifest.
func (v *view) value(text string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	shown := clip(text, min(maxValue, v.text))
	v.text = max(0, v.text-len(text))
	return shown
}

// values is value for each of a list, of which so many are shown.
func (v *view) values(list []string, most int) []string {
	shown := make([]string, 0, min(len(list), most)+1)
	for _, text := range list[:min(len(list), most)] {
		shown = append(shown, v.value(text))
	}
	if more := len(list) - most; more > 0 {
		shown = append(shown, fmt.Sprintf("… (%s more)", formatCount(more)))
	}
	return shown
}

// pair is a name and a value: an annotation, a label, a variable.
type pair struct{ Name, Value string }

// pairs is a mapping by its names.
func (v *view) pairs(m map[string]string) []pair {
	names := slices.Sorted(maps.Keys(m))
	shown := make([]pair, 0, min(len(names), maxPairs)+1)
	for _, name := range names[:min(len(names), maxPairs)] {
		shown = append(shown, pair{clip(name, maxName), v.value(m[name])})
	}
	if more := len(names) - maxPairs; more > 0 {
		shown = append(shown, pair{"…", formatCount(more) + " more"})
	}
	return shown
}

// variables is the environment of an image.
func (v *view) variables(list []string) []pair {
	shown := make([]pair, 0, min(len(list), maxPairs))
	for _, text := range list[:min(len(list), maxPairs)] {
		name, value, _ := strings.Cut(text, "=")
		shown = append(shown, pair{clip(name, maxName), v.value(value)})
	}
	if more := len(list) - maxPairs; more > 0 {
		shown = append(shown, pair{"…", formatCount(more) + " more"})
	}
	return shown
}

// command is a command line as the shell would read it.
func (v *view) command(words []string) string {
	quoted := make([]string, 0, min(len(words), maxPairs))
	for _, word := range words[:min(len(words), maxPairs)] {
		if word == "" || strings.ContainsAny(word, " \t\n\"'\\$`<>|&;()*?[]#~") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		quoted = append(quoted, word)
	}
	return v.value(strings.Join(quoted, " "))
}

// formatSize is a number of bytes for people.
func formatSize(size int64) string {
	if size < 0 {
		return "unknown"
	}
	return humanize.Bytes(uint64(size))
}

// formatCount is a number for people.
func formatCount(n int) string { return humanize.Comma(int64(n)) }

// counted is a number of things, such as "1 tag" and "2 tags".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return formatCount(n) + " " + many
}

var tagForm = regexp.MustCompile(`^` + reference.TagRegexp.String() + `$`)

func isTag(text string) bool { return tagForm.MatchString(text) }

// isDigest reports whether there may be a page about a digest that stands in a manifest.
func isDigest(d digest.Digest) bool { return d.Validate() == nil }

// number is a number in a query, at least 1.
func number(text string) int {
	n, err := strconv.Atoi(cmp.Or(text, "1"))
	if err != nil {
		return 1
	}
	return max(n, 1)
}
