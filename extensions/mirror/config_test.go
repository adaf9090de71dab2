package mirror_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/mirror"
)

// Whatever is wrong with a key is an error that names it.
func TestMistakesInTheConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		`{upstreams: {ghcr.io: {url: "https://ghcr.io"}}}`: "",
		`{upstreams: {hub: {url: "https://registry-1.docker.io", ns: docker.io}, local: {url: "http://[::1]:5000/path", ns: "[::1]:5000"}}}`: "",
		`{upstreams: {ghcr.io: {}}}`:                                         "upstreams[ghcr.io].url: must be given",
		`{upstreams: {ghcr.io: {url: ghcr.io}}}`:                             "upstreams[ghcr.io].url: must begin with https:// or http:// and a host",
		`{upstreams: {ghcr.io: {url: "https://ghcr.io/?"}}}`:                 "upstreams[ghcr.io].url: must be a host and maybe a path, and nothing else",
		`{upstreams: {ghcr.io: {url: "https://me:secret@ghcr.io"}}}`:         "upstreams[ghcr.io].url: must be a host and maybe a path, and nothing else",
		`{upstreams: {ghcr.io: {url: "https://a_b"}}}`:                       "upstreams[ghcr.io].url: must be a host and maybe a path, and nothing else",
		`{upstreams: {a: {url: "https://a", ns: "a b"}}}`:                    `upstreams[a].ns: "a b" is not a host`,
		`{upstreams: {a: {url: "https://a", ns: b}, b: {url: "https://b"}}}`: "upstreams[b].ns: b is that of a",
		`{upstreams: {"a:5000": {url: "https://a:5000"}}}`:                   "upstreams[a:5000]: is not a part of the name of a repository; say in ns which host it is",
		`{upstreams: {a: {url: "https://a", username: me}}}`:                 "upstreams[a].username: must be given together with a password",
		`{upstreams: {a: {url: "https://a", passwordfile: /nowhere}}}`:       "upstreams[a].passwordfile: cannot be read: no such file or directory",
		`{upstreams: {a: {url: "https://a", timeout: 1ms}}}`:                 "upstreams[a].timeout: must be at least 100ms",
		`{upstreams: {a: {url: "https://a", tls: {ca: /nowhere}}}}`:          "upstreams[a].tls.ca: open /nowhere: no such file or directory",
		`{upstreams: {a: {url: "https://a"}}, default: b}`:                   `default: "b" is not one of the upstreams`,
		`{upstreams: {a: {url: "https://a"}}, local: [b]}`:                   "local: is only for a registry with a default",
		`{upstreams: {a: {url: "https://a"}}, default: a, local: [a]}`:       `local[0]: "a" is an upstream`,
		`{upstreams: {a: {url: "https://a"}}, default: a, local: [b/c]}`:     `local[0]: "b/c" is not the first part of the name of a repository`,
		`{upstreams: {a: {url: "https://a", tll: 1s}}}`:                      "upstreams[a].tll: unknown key",
	} {
		var keys map[string]any
		if err := yaml.Unmarshal([]byte(text), &keys); err != nil {
			t.Fatal(err)
		}
		section, err := extensions.NewSection("extensions.mirror", keys)
		if err != nil {
			t.Fatal(err)
		}
		err = mirror.New().Configure(section)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), "extensions.mirror."+want)):
			t.Errorf("%s: %v, want %s", text, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error shows a password: %v", text, err)
		}
	}
}
