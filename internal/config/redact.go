package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"
)

// Redacted stands for a secret in the YAML of a configuration.
const Redacted = "REDACTED"

// YAML is the configuration in effect as a file, without secrets.
func (c *Config) YAML() ([]byte, error) {
	whole := document{Configuration: *c.Stock}
	if sections, ok := c.Extensions.(map[string]any); ok {
		whole.Extensions = map[string]section{}
		for name, section := range sections {
			if keys, ok := section.(map[string]any); ok {
				whole.Extensions[name] = maps.Clone(keys)
			}
		}
	}
	text, err := yaml.Marshal(&whole)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	var tree yaml.MapSlice
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	hidden := map[string]bool{} // what a key means that is not known, nobody knows
	for _, warning := range c.Warnings {
		if path, _, ok := strings.Cut(warning, ": "+unknownKey); ok {
			hidden[named.ReplaceAllString(numbered.ReplaceAllString(path, ""), ".$1")] = true
		}
	}
	return yaml.Marshal(redacted(tree, "", false, hidden))
}

// What stands for an element of a list and for one of a mapping in the path of a key.
var (
	numbered = regexp.MustCompile(`\[[0-9]+\]`)
	named    = regexp.MustCompile(`\[([^\]]*)\]`)
)

var (
	// secretKeys match the keys whose values are secrets, secretSections those of mappings
	// in which everything is, such as the headers that are sent to others.
	secretKeys = regexp.MustCompile(`(?i)passw|secret|token|(access|account|private|api)_?key|connectionstring|authorization|cookie`)
	// Paths and the like, although their keys are among the above.
	publicKeys     = regexp.MustCompile(`(?i)_uri$|_url$|^signingalgorithms$`)
	secretSections = regexp.MustCompile(`^(storage\.[^.]+\.credentials|notifications\.endpoints\.headers|health\.http\.headers)$`)

	credentials = regexp.MustCompile(`((?:^|\s|,)(?:\S*//)?)[^\s/@]+:[^\s@]*@|(//)\S*@`)
	queryValue  = regexp.MustCompile(`([?&][^=&\s]+=)[^&\s]+`)
)

// redacted is a value without secrets; secret says that it is one itself, and hidden
// which paths are.
func redacted(value any, path string, secret bool, hidden map[string]bool) any {
	switch value := value.(type) {
	case yaml.MapSlice:
		for i, item := range value {
			key := fmt.Sprint(item.Key)
			below := join(path, key)
			_, nested := item.Value.(yaml.MapSlice)
			isSecret := secret || hidden[below] || secretSections.MatchString(below) ||
				!nested && secretKeys.MatchString(key) && !publicKeys.MatchString(key)
			value[i].Value = redacted(item.Value, below, isSecret && key != "type", hidden)
		}
		return value
	case []any:
		value = slices.Clone(value)
		for i := range value {
			value[i] = redacted(value[i], path, secret, hidden)
		}
		return value
	case string:
		return RedactText(value, secret && value != "")
	}
	if secret && value != nil {
		return Redacted
	}
	return value
}

// RedactText is a text without the credentials in its URLs, or without anything if it is
// a secret itself.
func RedactText(text string, secret bool) string {
	if secret {
		return Redacted
	}
	text = credentials.ReplaceAllString(text, "${1}${2}"+Redacted+"@")
	if !strings.Contains(text, "://") {
		return text
	}
	return queryValue.ReplaceAllString(text, "${1}"+Redacted)
}
