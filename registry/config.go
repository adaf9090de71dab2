package registry

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/referrers"
)

// defaultConfiguration is used when no other is given.
//
//go:embed default.yml
var defaultConfiguration []byte

// configurationPathVariable names the file where no argument does.
const configurationPathVariable = "REGISTRY_CONFIGURATION_PATH"

// Configuration is distribution's own and the section that it does not know.
type Configuration struct {
	// Stock is what distribution makes of the file and the environment.
	Stock *configuration.Configuration
	// Extensions is the section `extensions:`, with the environment's overrides.
	Extensions any
	// Embedded says that no configuration was given.
	Embedded bool
}

// loadConfiguration reads the configuration that the arguments or the environment
// name, or else the embedded one. Its error is a single line.
func loadConfiguration(args []string) (*Configuration, error) {
	path := os.Getenv(configurationPathVariable)
	if len(args) > 0 {
		path = args[0]
	}
	if path == "" {
		config, err := parseConfiguration(defaultConfiguration)
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
	config, err := parseConfiguration(file)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return config, nil
}

// document is a configuration file as a whole.
type document struct {
	configuration.Configuration `yaml:",inline"`

	Extensions any `yaml:"extensions,omitempty"`
}

// parseConfiguration reads a file twice with distribution's parser: once with
// our section beside the rest, which finds what the environment says of it, and
// once as distribution does, whose rules for its own part are not repeated here.
func parseConfiguration(file []byte) (config *Configuration, err error) {
	defer recovered(&err) // the parser panics over some mistakes
	parser := configuration.NewParser("registry", []configuration.VersionedParseInfo{{
		Version:        configuration.CurrentVersion,
		ParseAs:        reflect.TypeFor[document](),
		ConversionFunc: func(parsed any) (any, error) { return parsed, nil },
	}})
	var whole document
	if err := parser.Parse(file, &whole); err != nil {
		return nil, err
	}
	// The parser has warned of variables that nobody knows; distribution's own
	// would warn of ours.
	level := logrus.GetLevel()
	logrus.SetLevel(logrus.ErrorLevel)
	defer logrus.SetLevel(level)
	stock, err := configuration.Parse(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return &Configuration{Stock: stock, Extensions: whole.Extensions}, nil
}

// recovered turns a panic into an error of one line.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s", strings.ReplaceAll(fmt.Sprint(p), "\n", " "))
	}
}

// configure hands each extension its section and reads that of the index, which
// they share. What nobody asked for is refused. It returns the extensions that
// are enabled.
func configure(config *Configuration, list []extensions.Extension) (enabled []extensions.Extension, options referrers.Options, err error) {
	root := extensions.NewSection("extensions", config.Extensions)
	for _, e := range list {
		section := root.Section(e.Name())
		if section.Bool("enabled", true) {
			enabled = append(enabled, e)
		}
		if err := e.Configure(section); err != nil {
			return nil, options, err
		}
	}
	_, disabled := manifestTypes(list, enabled)
	section := root.Section("referrers")
	options = referrers.Options{
		CacheSize:      section.Int("cachesize", referrers.DefaultCacheSize, 1),
		Concurrency:    section.Int("concurrency", referrers.DefaultConcurrency, 1),
		Wait:           section.Duration("wait", referrers.DefaultWait),
		MaxAnnotations: section.Int("maxannotations", referrers.DefaultMaxAnnotations, 1),
		Background:     section.Bool("background", true),
		ReadOnly:       readOnly(config.Stock),
		Unlisted:       func(mediaType string) bool { return disabled[mediaType] != "" },
	}
	return enabled, options, errors.Join(section.Err(), root.Err())
}

// readOnly is the switch `storage.maintenance.readonly.enabled`.
func readOnly(stock *configuration.Configuration) bool {
	section := extensions.NewSection("storage.maintenance", map[string]any(stock.Storage["maintenance"]))
	return section.Section("readonly").Bool("enabled", false)
}

// deleteEnabled is the switch `storage.delete.enabled`.
func deleteEnabled(stock *configuration.Configuration) bool {
	return extensions.NewSection("storage.delete", map[string]any(stock.Storage["delete"])).Bool("enabled", false)
}
