// Package config reads the configuration: distribution's own, and the section
// that it does not know.
package config

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v2"
)

// embedded is used when no other configuration is given.
//
//go:embed default.yml
var embedded []byte

// PathVariable names the file where no argument does.
const PathVariable = "REGISTRY_CONFIGURATION_PATH"

// Config is a configuration.
type Config struct {
	// Stock is what distribution makes of the file and the environment.
	Stock *configuration.Configuration
	// Extensions is the section `extensions:`, with the environment's overrides.
	Extensions any
	// Embedded says that no configuration was given.
	Embedded bool
	// Warnings name the keys and variables that have no effect, each with its path.
	Warnings []string
}

// Load reads the configuration that the arguments or the environment name, or
// else the embedded one. Its error is a single line.
func Load(args []string) (*Config, error) {
	file, err := Find(args)
	if err != nil {
		return nil, err
	}
	return file.Parse()
}

// File is the text of a configuration.
type File struct {
	// Name is what errors call it.
	Name string
	// Text is what it contains.
	Text []byte
	// Embedded says that no configuration was given.
	Embedded bool
}

// Find reads the file that the arguments or the environment name. Without one it is
// the embedded configuration.
func Find(args []string) (*File, error) {
	path := os.Getenv(PathVariable)
	if len(args) > 0 {
		path = args[0]
	}
	if path == "" {
		return &File{Name: "embedded configuration with REGISTRY_* variables", Text: embedded, Embedded: true}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return &File{Name: "configuration " + path, Text: text}, nil
}

// Parse is the configuration in the file, with the environment's overrides.
func (f *File) Parse() (*Config, error) {
	// Distribution's parser also warns of variables, before anything is known of how to
	// log. All of them are in Warnings.
	out := logrus.StandardLogger().Out
	logrus.SetOutput(io.Discard)
	defer logrus.SetOutput(out)
	config, err := Parse(f.Text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	config.Embedded = f.Embedded
	return config, nil
}

// document is a configuration file as a whole. Its form lets the environment
// override the keys of each extension.
type document struct {
	configuration.Configuration `yaml:",inline"`

	Extensions map[string]section `yaml:"extensions,omitempty"`
}

// section is that of an extension. All keys in it are strings, or else the parser would ignore
// the variables of the environment for those that are in others.
type section map[string]any

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *section) UnmarshalYAML(unmarshal func(any) error) error {
	var keys map[string]any
	if unmarshal(&keys) != nil {
		return errors.New("must be a mapping")
	}
	for key := range keys {
		keys[key] = withStrings(keys[key])
	}
	*s = keys
	return nil
}

// withStrings makes all keys in a value strings.
func withStrings(value any) any {
	switch value := value.(type) {
	case map[any]any:
		keys := mapping(value)
		for key := range keys {
			keys[key] = withStrings(keys[key])
		}
		return keys
	case []any:
		for i := range value {
			value[i] = withStrings(value[i])
		}
	}
	return value
}

// Parse reads a configuration file and the REGISTRY_* variables of the
// environment, with distribution's parser.
func Parse(file []byte) (config *Config, err error) {
	if _, err := Sections(file); err != nil {
		return nil, err
	}
	var root any
	if yaml.Unmarshal(file, &root) == nil {
		if err := refuseIneffective(root, extensionsPrefix); err != nil {
			return nil, err
		}
	}
	defer func() {
		if errors.As(err, new(panicError)) { // which does not say at which variable
			err = cmp.Or(refuseIneffective(root, ""), err)
		}
	}()
	defer Recovered(&err) // the parser panics over some mistakes
	parser := configuration.NewParser("registry", []configuration.VersionedParseInfo{{
		Version:        configuration.CurrentVersion,
		ParseAs:        reflect.TypeFor[document](),
		ConversionFunc: complete,
	}})
	var whole document
	if err := parser.Parse(bytes.Clone(file), &whole); err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), reflect.TypeFor[section]().String(), "a mapping"))
	}
	extensions := map[string]any{}
	for name, section := range whole.Extensions {
		extensions[name] = map[string]any(section)
	}
	return &Config{Stock: &whole.Configuration, Extensions: extensions, Warnings: Warnings(file)}, nil
}

// Sections are the mappings below `extensions:` in a configuration file, as far as it can
// be read. The error says in plain words what else is there, which the parser would say in
// its own, and which keys are given more than once, there or in a variable, which the parser
// accepts.
func Sections(file []byte) (sections map[string]any, err error) {
	var form struct {
		Extensions any `yaml:"extensions"`
	}
	err = refuseRepeated(file)
	if yaml.Unmarshal(file, &form) != nil || form.Extensions == nil {
		return nil, err
	}
	sections = mapping(form.Extensions)
	if sections == nil {
		return nil, errors.Join(err, fmt.Errorf("extensions: must be a mapping, not %T", form.Extensions))
	}
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		if mapping(sections[name]) == nil && sections[name] != nil {
			err = errors.Join(err, fmt.Errorf("extensions.%s: must be a mapping, not %T", name, sections[name]))
			delete(sections, name)
		}
	}
	return sections, err
}

// maxEntries is distribution's default for lists of repositories and tags.
const maxEntries = 1000

// complete does with a parsed document what configuration.Parse does at the end;
// calling that as well would warn of the variables that are ours.
func complete(parsed any) (any, error) {
	c, ok := parsed.(*document)
	if !ok {
		return nil, fmt.Errorf("expected %T, received %T", c, parsed)
	}
	if c.Log.Level == "" {
		c.Log.Level = "info"
		if c.Loglevel != "" { //nolint:staticcheck // distribution still reads it
			c.Log.Level = c.Loglevel //nolint:staticcheck // as above
		}
	}
	c.Loglevel = "" //nolint:staticcheck // as above
	if c.Catalog.MaxEntries <= 0 {
		c.Catalog.MaxEntries = maxEntries
	}
	switch {
	case c.Tags.MaxTags < 0:
		return nil, errors.New("maxtags limit must be a non-negative integer value")
	case c.Tags.MaxTags == 0:
		c.Tags.MaxTags = maxEntries
	}
	if c.Storage.Type() == "" {
		return nil, errors.New("no storage configuration provided")
	}
	return c, nil
}

// panicError is what somebody has panicked with.
type panicError string

// Error implements error.
func (e panicError) Error() string { return string(e) }

// Recovered turns a panic into an error of one line.
func Recovered(err *error) {
	if p := recover(); p != nil {
		*err = panicError(strings.ReplaceAll(fmt.Sprint(p), "\n", " "))
	}
}

// ReadOnly is the switch `storage.maintenance.readonly.enabled`.
func (c *Config) ReadOnly() bool {
	var enabled any
	switch section := c.Stock.Storage["maintenance"]["readonly"].(type) {
	case map[any]any:
		enabled = section["enabled"]
	case map[string]any:
		enabled = section["enabled"]
	}
	return enabled == true
}

// DeleteEnabled is the switch `storage.delete.enabled`.
func (c *Config) DeleteEnabled() bool {
	enabled, _ := c.Stock.Storage["delete"]["enabled"].(bool)
	return enabled
}

// IsProxy reports whether the registry is a pull-through cache.
func (c *Config) IsProxy() bool { return c.Stock.Proxy.RemoteURL != "" }
