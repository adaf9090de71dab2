package extensions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Section is one part of the configuration, read key by key. The first thing
// that is wrong is kept, and what nobody asked for is refused by Err: every
// error names the path of its key.
type Section struct {
	path   string
	values map[string]any
	asked  map[string]bool
	err    error
}

// NewSection makes a section from what the YAML parser read at path. A nil
// value is an empty section.
func NewSection(path string, value any) *Section {
	s := &Section{path: path, values: map[string]any{}, asked: map[string]bool{}}
	switch value := value.(type) {
	case nil:
	case map[string]any:
		s.values = value
	case map[any]any:
		for key, v := range value {
			s.values[fmt.Sprint(key)] = v
		}
	default:
		s.fail("", "must be a mapping, not %T", value)
	}
	return s
}

// Section is the section below key.
func (s *Section) Section(key string) *Section {
	return NewSection(s.at(key), s.take(key))
}

// Bool is the truth value at key, or the default.
func (s *Section) Bool(key string, byDefault bool) bool {
	value, ok := get[bool](s, key, "true or false")
	if !ok {
		return byDefault
	}
	return value
}

// Int is the whole number at key, or the default. One below least is refused.
func (s *Section) Int(key string, byDefault, least int) int {
	value, ok := get[int](s, key, "a whole number")
	if !ok {
		return byDefault
	}
	if value < least {
		s.fail(key, "must be at least %d, not %d", least, value)
	}
	return value
}

// Duration is the duration at key ("10s"), or the default.
func (s *Section) Duration(key string, byDefault time.Duration) time.Duration {
	text, ok := get[string](s, key, `a duration such as "10s"`)
	if !ok {
		return byDefault
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		s.fail(key, "must be a duration such as \"10s\", not %q", text)
	}
	return value
}

// Strings is the list of strings at key, which must be of those allowed.
func (s *Section) Strings(key string, allowed ...string) []string {
	list, ok := get[[]any](s, key, "a list")
	if !ok {
		return nil
	}
	texts := make([]string, 0, len(list))
	for i, item := range list {
		text := fmt.Sprint(item)
		if !slices.Contains(allowed, text) {
			s.fail(fmt.Sprintf("%s[%d]", key, i), "%q is unknown; known: %s", text, strings.Join(allowed, ", "))
		}
		texts = append(texts, text)
	}
	return texts
}

// Err is the first thing that is wrong, or an unknown key.
func (s *Section) Err() error {
	if s.err != nil {
		return s.err
	}
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !s.asked[key] {
			return fmt.Errorf("%s: unknown key", s.at(key))
		}
	}
	return nil
}

func (s *Section) take(key string) any {
	s.asked[key] = true
	return s.values[key]
}

func (s *Section) at(key string) string { return strings.TrimSuffix(s.path+"."+key, ".") }

func (s *Section) fail(key, format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%s: %s", s.at(key), fmt.Sprintf(format, args...))
	}
}

func get[T any](s *Section, key, what string) (value T, ok bool) {
	raw := s.take(key)
	if raw == nil {
		return value, false
	}
	value, ok = raw.(T)
	if !ok {
		s.fail(key, "must be %s, not %v", what, raw)
	}
	return value, ok
}
