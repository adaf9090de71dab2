package extensions

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
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
	s := Section{path: path, values: map[string]any{}}
	switch value := value.(type) {
	case nil:
	case map[string]any:
		maps.Copy(s.values, value)
	case map[any]any:
		for key, v := range value {
			s.values[fmt.Sprint(key)] = v
		}
	default:
		return s, fmt.Errorf("%s: must be a mapping, not %T", path, value)
	}
	return s, nil
}

// Take takes the section below key out of this one.
func (s Section) Take(key string) (Section, error) {
	value := s.values[key]
	delete(s.values, key)
	return NewSection(s.at(key), value)
}

// Enabled takes the key `enabled` out of the section; true if it is not there.
func (s Section) Enabled() (bool, error) {
	value, there := s.values["enabled"]
	delete(s.values, "enabled")
	enabled, ok := value.(bool)
	if there && value != nil && !ok {
		return false, s.Errorf("enabled", "must be true or false, not %v", value)
	}
	return enabled || value == nil, nil
}

// Decode reads the section into a struct whose fields have tags `yaml:"key"`. What
// the struct holds before is the default. An unknown key is an error, and so is a
// value of another type; a time.Duration is written as text, "10s".
func (s Section) Decode(into any) error {
	var found mapstructure.Metadata
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: into, TagName: "yaml", Metadata: &found, DecodeHook: decodeDuration,
		MatchName: func(key, field string) bool { return key == field },
	})
	if err != nil {
		return err
	}
	if err := decoder.Decode(s.values); err != nil {
		return s.explain(err)
	}
	if len(found.Unused) > 0 {
		slices.Sort(found.Unused)
		return s.Errorf(found.Unused[0], "unknown key")
	}
	return nil
}

// Errorf is an error about one key of the section.
func (s Section) Errorf(key, format string, args ...any) error {
	return fmt.Errorf("%s: %w", s.at(key), fmt.Errorf(format, args...))
}

func (s Section) at(key string) string { return strings.TrimSuffix(s.path+"."+key, ".") }

// decodeDuration reads durations as text, and nothing else as durations.
func decodeDuration(from, to reflect.Type, value any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() || from == to {
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
	return s.Errorf(named.Name(), "must be %s, not %v", plainType(wrong.Expected.Type()), wrong.Value)
}

// plainType names a type as the user of a configuration file would.
func plainType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	}
	return t.String()
}
