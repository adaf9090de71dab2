package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"
)

// repeatedKey says that a mapping has a key more than once, which the parser accepts.
const repeatedKey = "given more than once"

// repeated warns of the keys that are given more than once, in the file and in the values of
// variables. Those of the extensions are errors instead.
func (w *warnings) repeated(file []byte) {
	for _, path := range repeats(file, false) {
		w.add(path, repeatedKey+", the last one takes precedence")
	}
}

// refuseRepeated is an error about the keys of the extensions that are given more than once.
func refuseRepeated(file []byte) (err error) {
	for _, path := range repeats(file, true) {
		err = errors.Join(err, fmt.Errorf("%s: %s", path, repeatedKey))
	}
	return err
}

// repeats are the places of the keys that are given more than once, in the file and in the
// values of variables: those of the extensions, or the others.
func repeats(file []byte, theirs bool) (places []string) {
	for _, path := range repeatedKeys(file) {
		if ofExtensions(path) == theirs {
			places = append(places, path)
		}
	}
	for name, text := range variables() {
		if strings.HasPrefix(name, extensionsVariable) != theirs {
			continue
		}
		for _, path := range repeatedKeys(asDocument(text)) {
			places = append(places, name+": "+path)
		}
	}
	return places
}

// extensionsVariable begins the names of the variables that are the extensions'.
const extensionsVariable = environmentPrefix + "EXTENSIONS"

// asDocument is the value of a variable as a file has it: the value of one key.
func asDocument(value string) []byte {
	return []byte("value:\n  " + strings.ReplaceAll(value, "\n", "\n  "))
}

func ofExtensions(path string) bool {
	return path == "extensions" || strings.HasPrefix(path, "extensions.")
}

// repeatedKeys are the paths of the keys that a file gives more than once in a mapping.
func repeatedKeys(file []byte) []string {
	var root yaml.MapSlice // only this form has all keys, at every depth
	if yaml.Unmarshal(file, &root) != nil {
		return nil // which is an error, and said as such
	}
	paths := repeatedBelow("", root)
	slices.Sort(paths)
	return slices.Compact(paths) // the same key may be in both of two mappings
}

func repeatedBelow(path string, value any) (paths []string) {
	if mapping, ok := value.(yaml.MapSlice); ok {
		seen := map[string]bool{}
		for _, item := range mapping {
			at := join(path, fmt.Sprint(item.Key))
			if seen[at] {
				paths = append(paths, at)
			}
			seen[at] = true
			paths = append(paths, repeatedBelow(at, item.Value)...)
		}
	}
	for _, element := range elements(path, value) {
		paths = append(paths, repeatedBelow(element.path, element.value)...)
	}
	return paths
}
