package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"go.yaml.in/yaml/v2"
)

// Warnings names what distribution would accept in silence, in a configuration file and
// in the environment: keys that it does not know, or of which it takes only one of several,
// and values that it does not take. A warning begins with the path of the key.
func Warnings(file []byte) []string {
	var found warnings
	var root, more any
	documents := yaml.NewDecoder(bytes.NewReader(file))
	if documents.Decode(&root) == nil {
		found.check("", root, reflect.TypeFor[document]())
		if documents.Decode(&more) == nil {
			found = append(found, "the file has a second document, which is ignored")
		}
	}
	found.repeated(file)
	found.environment(root)
	return found
}

type warnings []string

// holderPrefix begins the keys of the file that hold what other keys share, by anchors and
// aliases. They are nobody's, as in the files of Docker Compose.
const holderPrefix = "x-"

// unknownKey begins a warning about a key that is not known.
const unknownKey = "unknown key"

func (w *warnings) add(path, format string, args ...any) {
	*w = append(*w, path+": "+fmt.Sprintf(format, args...))
}

// unknown reports a key that is none of those that are known.
func (w *warnings) unknown(path, key string, known []string) {
	w.add(join(path, key), unknownKey+", ignored%s", hint(nearest(key, known)))
}

// check compares a value of the file with the type that distribution reads it into.
func (w *warnings) check(path string, value any, t reflect.Type) {
	switch t {
	case reflect.TypeFor[configuration.Storage]():
		w.storage(path, value)
	case reflect.TypeFor[configuration.Auth]():
		for kind, given := range mapping(value) {
			w.options(join(path, kind), given, authOptions[kind])
		}
	case reflect.TypeFor[map[string][]configuration.Middleware]():
		w.middleware(path, value, t.Elem())
	case reflect.TypeFor[map[string]section](): // the extensions read their own
	default:
		w.checkKind(path, value, t)
	}
}

func (w *warnings) checkKind(path string, value any, t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		w.check(path, value, t.Elem())
	case reflect.Slice:
		for _, element := range elements(path, value) {
			w.check(element.path, element.value, t.Elem())
		}
	case reflect.Struct:
		known := fields(t)
		given := mapping(value)
		for _, key := range slices.Sorted(maps.Keys(given)) {
			field, ok := known[key]
			switch {
			case ok:
				w.check(join(path, key), given[key], field.Type)
			case documented[join(path, key)], path == "" && strings.HasPrefix(key, holderPrefix):
			default:
				w.unknown(path, key, slices.Collect(maps.Keys(known)))
			}
		}
	}
}

// storage checks the section `storage`: the options of the driver, and the others.
func (w *warnings) storage(path string, value any) {
	given := mapping(value)
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if known, ok := storageOptions[key]; ok {
			w.options(join(path, key), given[key], known)
		} else {
			w.options(join(path, key), given[key], driverOptions[key])
		}
	}
	for _, key := range []string{"delete", "maintenance.uploadpurging"} {
		if enabled, ok := lookUp(given, key+".enabled"); ok {
			if _, isBool := enabled.(bool); !isBool {
				w.add(join(path, key)+".enabled", "must be true or false, not %q, which is ignored", fmt.Sprint(enabled))
			}
		}
	}
	for _, key := range []string{"cache.blobdescriptor", "cache.layerinfo"} {
		if kind, ok := lookUp(given, key); ok && kind != "redis" && kind != "inmemory" && kind != "" {
			w.add(join(path, key), "must be redis or inmemory, not %q, which is ignored", fmt.Sprint(kind))
		}
	}
}

// middleware checks the section `middleware`, where the options depend on the name.
func (w *warnings) middleware(path string, value any, list reflect.Type) {
	given := mapping(value)
	for _, kind := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(middlewareKinds, kind) {
			w.unknown(path, kind, middlewareKinds)
			continue
		}
		w.check(join(path, kind), given[kind], list)
		for _, entry := range elements(join(path, kind), given[kind]) {
			if fields := mapping(entry.value); kind == "storage" {
				w.options(entry.path+".options", fields["options"], storageMiddlewareOptions[fmt.Sprint(fields["name"])])
			}
		}
	}
}

// options checks the options of a driver or the like; nothing is known of those whose
// known options are nil.
func (w *warnings) options(path string, value any, known options) {
	if known == nil {
		return
	}
	given := mapping(value)
	for _, key := range slices.Sorted(maps.Keys(given)) {
		below, ok := known[key]
		if !ok {
			w.unknown(path, key, slices.Collect(maps.Keys(known)))
		} else if below != nil {
			w.options(join(path, key), given[key], below)
		}
	}
}

// fields are the fields of a struct by their keys in YAML.
func fields(t reflect.Type) map[string]reflect.StructField {
	found := map[string]reflect.StructField{}
	for field := range structFields(t) {
		found[yamlKey(field)] = field
	}
	return found
}

// structFields are the fields of a struct and of those that are inlined in it.
func structFields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			field := t.Field(i)
			if isInline(field) {
				for inlined := range structFields(field.Type) {
					if !yield(inlined) {
						return
					}
				}
			} else if !yield(field) {
				return
			}
		}
	}
}

// yamlKey is the key of a field in YAML.
func yamlKey(field reflect.StructField) string {
	if key, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); key != "" {
		return key
	}
	return strings.ToLower(field.Name)
}

// mapping is a value of the file as a mapping, nil if it is not one.
func mapping(value any) map[string]any {
	given, ok := value.(map[any]any)
	if !ok {
		return nil
	}
	found := make(map[string]any, len(given))
	for key, value := range given {
		found[fmt.Sprint(key)] = value
	}
	return found
}

type element struct {
	path  string
	value any
}

// elements are the elements of a list. The environment names them by their numbers.
func elements(path string, value any) (found []element) {
	list, _ := value.([]any)
	for i, value := range list {
		found = append(found, element{fmt.Sprintf("%s[%d]", path, i), value})
	}
	for index, value := range mapping(value) {
		found = append(found, element{path + "[" + index + "]", value})
	}
	return found
}

// lookUp is the value at a path.
func lookUp(given map[string]any, path string) (any, bool) {
	key, rest, more := strings.Cut(path, ".")
	value, ok := given[key]
	if !more || !ok {
		return value, ok
	}
	return lookUp(mapping(value), rest)
}

func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }
