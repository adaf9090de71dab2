package config

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
)

// What the names of variables begin with.
const (
	environmentPrefix = "REGISTRY_"
	extensionsPrefix  = environmentPrefix + "EXTENSIONS_"
)

// environment checks the variables of the environment as keys of the file, which has a root.
func (w *warnings) environment(root any) {
	for name, text := range variables() {
		path := strings.TrimPrefix(name, environmentPrefix)
		var value any
		if yaml.Unmarshal([]byte(text), &value) != nil {
			continue // which is an error, and said as such
		}
		nested, err := nest(strings.Split(path, "_"), value, reflect.TypeFor[document]())
		if err != nil {
			w.add(name, "%v", err)
			continue
		}
		if reason := ineffective(root, name); reason != "" {
			if !strings.HasPrefix(name, extensionsPrefix) { // there it is an error
				w.add(name, "ignored, because %s", reason)
			}
			continue
		}
		if text == "" && strings.HasPrefix(name, extensionsPrefix) {
			w.add(name, "is empty, so that nothing counts of what the file has there")
		}
		var found warnings
		found.check("", nested, reflect.TypeFor[document]())
		for _, warning := range found {
			w.add(name, "%s", warning)
		}
	}
}

// variables are those of the environment that are keys of the file, sorted.
func variables() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, variable := range slices.Sorted(slices.Values(os.Environ())) {
			name, text, _ := strings.Cut(variable, "=")
			if strings.HasPrefix(name, environmentPrefix) && name != PathVariable && !yield(name, text) {
				return
			}
		}
	}
}

// nest is the value of a variable as the file would have it. Distribution finds the
// fields of a struct by their names in Go, and writes all other keys in lower case.
func nest(path []string, value any, t reflect.Type) (nested any, err error) {
	if len(path) == 0 {
		return value, nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	key, below := strings.ToLower(path[0]), reflect.TypeFor[any]()
	switch t.Kind() {
	case reflect.Struct:
		field, ok := fieldNamed(t, path[0])
		if !ok {
			return nil, errors.New("unknown variable, ignored" + hint(nearest(path[0], fieldNames(t))))
		}
		if isInline(field) {
			return nest(path[1:], value, field.Type)
		}
		key, below = yamlKey(field), field.Type
	case reflect.Slice, reflect.Map:
		below = t.Elem()
	case reflect.Interface:
	default:
		return nil, errors.New("unknown variable, ignored")
	}
	inner, err := nest(path[1:], value, below)
	return map[any]any{key: inner}, err
}

// refuseIneffective is an error for each variable of a kind that ineffective has a reason for.
func refuseIneffective(root any, prefix string) (err error) {
	for name := range variables() {
		if reason := ineffective(root, name); reason != "" && strings.HasPrefix(name, prefix) {
			err = errors.Join(err, fmt.Errorf("%s: %s", name, reason))
		}
	}
	return err
}

// ineffective says why distribution's parser ignores a variable, or fails at it; it is empty
// if it does not. The parser takes no variable for an element of a list, nor for a part of
// a value of the file whose type it does not know. In the sections of extensions, it knows all
// mappings.
func ineffective(root any, name string) (reason string) {
	path := strings.Split(strings.TrimPrefix(name, environmentPrefix), "_")
	value, t, inExtension := root, reflect.TypeFor[document](), false
	for i, key := range path {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		instead := "; set all of " + environmentPrefix + strings.Join(path[:i], "_") + " instead"
		switch list, isList := value.([]any); {
		case t.Kind() == reflect.Struct:
			field, ok := fieldNamed(t, key)
			if !ok {
				return ""
			}
			if t = field.Type; !isInline(field) {
				value = mapping(value)[yamlKey(field)]
			}
		case t.Kind() == reflect.Map:
			inExtension = inExtension || t == reflect.TypeFor[map[string]section]()
			t, value = t.Elem(), keyNamed(value, key)
		case t.Kind() == reflect.Slice || isList:
			n, err := strconv.Atoi(key)
			there := err == nil && n >= 0 && n < len(list)
			if i == len(path)-1 || isList && t.Kind() == reflect.Interface && !there {
				return "no element of a list can be set alone" + instead
			}
			if t.Kind() == reflect.Slice {
				t = t.Elem()
			}
			if value = nil; there {
				value = list[n]
			}
		case t.Kind() != reflect.Interface || value == nil:
			return ""
		case inExtension && mapping(value) != nil:
			value = keyNamed(value, key)
		default:
			return "the file has a value there, of which no part can be set" + instead
		}
	}
	return ""
}

// keyNamed is the value of a key in a mapping, which variables name in upper case.
func keyNamed(value any, name string) any {
	for key, below := range mapping(value) {
		if strings.ToUpper(key) == name {
			return below
		}
	}
	return nil
}

// fieldNamed finds a field by its name, also in the structs that are inlined.
func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for field := range structFields(t) {
		if strings.ToUpper(field.Name) == name {
			return field, true
		}
	}
	for i := range t.NumField() {
		if field := t.Field(i); isInline(field) && !field.Anonymous && strings.ToUpper(field.Name) == name {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) (names []string) {
	for field := range structFields(t) {
		names = append(names, strings.ToUpper(field.Name))
	}
	return names
}

func isInline(field reflect.StructField) bool {
	_, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return option == "inline"
}
