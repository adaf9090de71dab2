package registry

import "testing"

func TestTemplate(t *testing.T) {
	for _, test := range []struct {
		template, path, name, reference string
		ok                              bool
	}{
		{"/v2/{name}/referrers/{reference}", "/v2/a/b/referrers/sha256:x", "a/b", "sha256:x", true},
		{"/v2/{name}/referrers/{reference}", "/v2/a/referrers/referrers/x", "a/referrers", "x", true},
		{"/v2/{name}/referrers/{reference}", "/v2/a/referrers/manifests/x", "", "", false},
		{"/v2/{name}/referrers/{reference}", "/v2/a/referrers/", "", "", false},
		{"/v2/{name}/referrers/{reference}", "/v2/referrers/x", "", "", false},
		{"/v2/{name}/referrers/{reference}", "/v2//referrers/x", "", "x", true}, // the name is refused later
		{"/v2/{name}/_oras/artifacts/referrers", "/v2/a/_oras/artifacts/referrers", "a", "", true},
		{"/v2/{name}/_oras/artifacts/referrers", "/v2/a/_oras/artifacts/referrers/x", "", "", false},
		{"/oras/artifacts/v1/{name}/manifests/{reference}/referrers", "/oras/artifacts/v1/a/manifests/d/referrers", "a", "d", true},
		{"/oras/artifacts/v1/{name}/manifests/{reference}", "/oras/artifacts/v1/a/manifests/d/referrers", "", "", false},
		{"/oras/artifacts/v1/{name}/manifests/{reference}", "/oras/artifacts/v1/a/manifests/v1", "a", "v1", true},
		{"/v2/_oci/ext/discover", "/v2/_oci/ext/discover", "", "", true},
		{"/v2/_oci/ext/discover", "/v2/_oci/ext/discover/", "", "", false},
	} {
		name, reference, ok := newTemplate(test.template).match(test.path)
		if ok != test.ok || ok && (name != test.name || reference != test.reference) {
			t.Errorf("%s on %s: %q, %q, %v", test.path, test.template, name, reference, ok)
		}
	}
}

// A path that a template takes is the one that its parts make up again.
func FuzzTemplate(f *testing.F) {
	f.Add("/v2/a/b/referrers/sha256:x")
	f.Add("/oras/artifacts/v1/a/manifests/d/referrers")
	f.Add("/v2/../referrers/..")
	f.Fuzz(func(t *testing.T, path string) {
		for _, text := range []string{
			"/v2/{name}/referrers/{reference}", "/v2/{name}/_oras/artifacts/referrers", "/v2/_oci/ext/discover",
			"/oras/artifacts/v1/{name}/manifests/{reference}", "/oras/artifacts/v1/{name}/manifests/{reference}/referrers",
		} {
			tmpl := newTemplate(text)
			if name, reference, ok := tmpl.match(path); ok && tmpl.expand(name, reference) != path {
				t.Errorf("%q on %s: %q and %q", path, text, name, reference)
			}
		}
	})
}
