// Package config reads the configuration: distribution's own, and the section
// that it does not know.
package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"go.yaml.in/yaml/v3"
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
}

// Load reads the configuration that the arguments or the environment name, or
// else the embedded one. Its error is a single line.
func Load(args []string) (*Config, error) {
	path := os.Getenv(PathVariable)
	if len(args) > 0 {
		path = args[0]
	}
	if path == "" {
		config, err := Parse(embedded)
		if err != nil {
			return nil, fmt.Errorf("embedded configuration with REGISTRY_* variables: %w", err)
		}
		config.Embedded = true
		return config, nil
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	config, err := Parse(file)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return config, nil
}

// document is a configuration file as a whole. Its form lets the environment
// override the keys of each extension.
type document struct {
	configuration.Configuration `yaml:",inline"`

	Extensions map[string]configuration.Parameters `yaml:"extensions,omitempty"`
}

// Parse reads a configuration file and the REGISTRY_* variables of the
// environment, with distribution's parser.
func Parse(file []byte) (config *Config, err error) {
	var form struct {
		Extensions any `yaml:"extensions"`
	}
	if yaml.Unmarshal(file, &form) == nil {
		if err := checkForm(form.Extensions); err != nil {
			return nil, err
		}
	}
	defer Recovered(&err) // the parser panics over some mistakes
	parser := configuration.NewParser("registry", []configuration.VersionedParseInfo{{
		Version:        configuration.CurrentVersion,
		ParseAs:        reflect.TypeFor[document](),
		ConversionFunc: complete,
	}})
	var whole document
	if err := parser.Parse(bytes.Clone(file), &whole); err != nil {
		return nil, err
	}
	extensions := map[string]any{}
	for name, section := range whole.Extensions {
		extensions[name] = map[string]any(section)
	}
	return &Config{Stock: &whole.Configuration, Extensions: extensions}, nil
}

// checkForm says in plain words what the parser would say in its own.
func checkForm(value any) error {
	if value == nil {
		return nil
	}
	sections, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("extensions: must be a mapping, not %T", value)
	}
	for name, section := range sections {
		if _, ok := section.(map[string]any); !ok && section != nil {
			return fmt.Errorf("extensions.%s: must be a mapping, not %T", name, section)
		}
	}
	return nil
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

// Recovered turns a panic into an error of one line.
func Recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s", strings.ReplaceAll(fmt.Sprint(p), "\n", " "))
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
