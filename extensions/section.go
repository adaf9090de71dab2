package extensions

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// Section is one part of the configuration. Every error names the path of its
// key.
type Section struct {
	path   string
	values map[string]any
}

// NewSection makes a section from what the YAML parser read at path. A nil
// value is an empty section.
func NewSection(path string, value any) (Section, error) {
	if value == nil {
		value = map[string]any{}
	}
	values, ok := textKeys(value).(map[string]any)
	if !ok {
		return Section{path: path}, fmt.Errorf("%s: must be a mapping, not %T", path, value)
	}
	return Section{path: path, values: values}, nil
}

// textKeys copies what the YAML parser read: the keys of its mappings may be of any
// type, and are text in the copy.
func textKeys(value any) any {
	switch value := value.(type) {
	case map[string]any:
		all := make(map[string]any, len(value))
		for key, v := range value {
			all[key] = textKeys(v)
		}
		return all
	case map[any]any:
		all := make(map[string]any, len(value))
		for key, v := range value {
			all[fmt.Sprint(key)] = textKeys(v)
		}
		return all
	case []any:
		all := make([]any, len(value))
		for i, v := range value {
			all[i] = textKeys(v)
		}
		return all
	}
	return value
}

// Take takes the section below key out of this one.
func (s Section) Take(key string) (Section, error) {
	value := s.values[key]
	delete(s.values, key)
	return NewSection(s.at(key), value)
}

// Enabled takes the key `enabled` out of the section, or else what it is by default.
func (s Section) Enabled(byDefault bool) (bool, error) {
	value, there := s.values["enabled"]
	delete(s.values, "enabled")
	enabled, ok := value.(bool)
	if there && value != nil && !ok {
		return false, s.Errorf("enabled", "must be true or false, not %v", value)
	}
	return enabled || value == nil && byDefault, nil
}

// Decode reads the section into a struct whose fields have tags `yaml:"key"`. What
// the struct holds before is the default. An unknown key is an error, and so is a
// value of another type; a time.Duration is written as text, "10s". The error names
// all of them, one a line, and the other keys are read nevertheless.
func (s Section) Decode(into any) error {
	unknown, err := decode(s.values, into)
	var all []error
	if err != nil {
		// The library names unknown keys only where all values are right.
		right := maps.Clone(s.values)
		for _, wrong := range each(err) {
			all = append(all, s.explain(wrong))
			var named *mapstructure.DecodeError
			if errors.As(wrong, &named) {
				delete(right, named.Name()[:keyLength(named.Name())])
			}
		}
		unknown, _ = decode(right, reflect.New(reflect.TypeOf(into).Elem()).Interface())
	}
	for _, key := range unknown {
		all = append(all, s.Errorf(key, "unknown key"))
	}
	return errors.Join(all...)
}

// decode reads values into a struct, and returns the keys that it does not have.
func decode(values map[string]any, into any) (unknown []string, err error) {
	var found mapstructure.Metadata
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: into, TagName: "yaml", Metadata: &found, DecodeHook: decodeStrictly,
		MatchName: func(key, field string) bool { return key == field },
	})
	if err != nil {
		return nil, err
	}
	err = decoder.Decode(values)
	slices.Sort(found.Unused)
	return found.Unused, err
}

// each is all errors that are joined in one.
func each(err error) (all []error) {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	for _, one := range joined.Unwrap() {
		all = append(all, each(one)...)
	}
	return all
}

// keyLength is the length of the first key of a path.
func keyLength(path string) int {
	if end := strings.IndexAny(path, ".["); end >= 0 {
		return end
	}
	return len(path)
}

// Errorf is an error about one key of the section.
func (s Section) Errorf(key, format string, args ...any) error {
	return fmt.Errorf("%s: %w", s.at(key), fmt.Errorf(format, args...))
}

func (s Section) at(key string) string { return strings.TrimSuffix(s.path+"."+key, ".") }

// decodeStrictly reads durations as text, and refuses what the library would report
// in the words of Go, or would cut off.
func decodeStrictly(from, to reflect.Type, value any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() || from == to {
		list := to.Kind() == reflect.Slice && from.Kind() != reflect.Slice
		if mapping := to.Kind() == reflect.Struct && from.Kind() != reflect.Map && from != to; list || mapping {
			return nil, fmt.Errorf("must be %s, not %s", plainType(to), shown("", value))
		}
		if number, ok := value.(float64); ok && plainType(to) == wholeNumber && !isWhole(number) {
			return nil, fmt.Errorf("must be %s, not %v", wholeNumber, number)
		}
		return value, nil
	}
	text, ok := value.(string)
	d, err := time.ParseDuration(text)
	if !ok || err != nil || d < 0 {
		return nil, fmt.Errorf("must be a duration such as \"10s\", not %v", value)
	}
	return d, nil
}

// explain says in plain words which value is not of the type that it should be.
func (s Section) explain(err error) error {
	var named *mapstructure.DecodeError
	if !errors.As(err, &named) {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	var wrong *mapstructure.UnconvertibleTypeError
	if !errors.As(err, &wrong) {
		return s.Errorf(named.Name(), "%w", named.Unwrap())
	}
	return s.Errorf(named.Name(), "must be %s, not %s", plainType(wrong.Expected.Type()), shown(named.Name(), wrong.Value))
}

// secret matches the keys whose values no error shows.
var secret = regexp.MustCompile(`(?i)passw|secret|token|key`)

// shown is a value as an error shows it. What has been given for a secret, or may contain one,
// is named by its type.
func shown(key string, value any) string {
	t := reflect.TypeOf(value)
	if t != nil && (secret.MatchString(key) || t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		return plainType(t)
	}
	return fmt.Sprint(value)
}

// isWhole reports whether a number can be an integer: the library would cut off the rest.
func isWhole(number float64) bool {
	return number == math.Trunc(number) && math.Abs(number) < math.MaxInt64
}

// wholeNumber is the type of all integers.
const wholeNumber = "a whole number"

// plainType names a type as the user of a configuration file would.
func plainType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return wholeNumber
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	}
	return t.String()
}
