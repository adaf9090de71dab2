// Package oras is the extension for ORAS artifacts (artifacts-spec v1.0.0-draft.1
// to rc.2): the artifact manifest, and the routes that list who refers to a
// manifest. See README.md in this folder.
package oras

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/oras-distribution/registry/extensions"
)

// Extension implements extensions.Extension.
type Extension struct{}

// New makes the extension.
func New() *Extension { return &Extension{} }

// Name implements extensions.Extension.
func (*Extension) Name() string { return "oras" }

// Configure implements extensions.Configurer. It takes the form
// that the ORAS project's fork used, `artifacts: [referrers]`.
func (*Extension) Configure(section extensions.Section) error {
	var keys struct {
		Artifacts []string `yaml:"artifacts"`
	}
	decodeErr := section.Decode(&keys)
	err := decodeErr
	for i, text := range keys.Artifacts {
		if text != "referrers" && (text != "" || decodeErr == nil) { // empty is also what is no text
			err = errors.Join(err, section.Errorf(fmt.Sprintf("artifacts[%d]", i), "%q is unknown; known: referrers", text))
		}
	}
	return err
}

// ManifestTypes implements extensions.ManifestTyper.
func (*Extension) ManifestTypes() []extensions.ManifestType {
	return []extensions.ManifestType{artifact}
}

// Routes implements extensions.Router.
func (*Extension) Routes(services extensions.Services) []extensions.Route {
	draft, candidate := view("references"), view("referrers")
	candidate.Header = http.Header{"ORAS-Api-Version": {"oras/1.0"}}
	candidate.Kept = []string{"digest"}
	return []extensions.Route{
		{
			Name: "oras_referrers",
			Path: "/oras/artifacts/v1/{name}/manifests/{reference}/referrers",
			Serve: func(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
				return draft.Serve(w, r, services.Referrers, target.Repository.Name(), target.Reference)
			},
		},
		{
			Name:    "oras_manifest",
			Path:    "/oras/artifacts/v1/{name}/manifests/{reference}",
			Forward: "/v2/{name}/manifests/{reference}",
		},
		{
			Name: "oras_ext_referrers",
			Path: "/v2/{name}/_oras/artifacts/referrers",
			Serve: func(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
				return candidate.Serve(w, r, services.Referrers, target.Repository.Name(), r.URL.Query().Get("digest"))
			},
		},
	}
}

// Descriptions implements extensions.Describer.
func (*Extension) Descriptions() []extensions.Description {
	return []extensions.Description{{
		Name:        "_oras",
		URL:         "https://github.com/oras-project/artifacts-spec/blob/main/manifest-referrers-api.md",
		Description: "ORAS referrers: the artifact manifests that refer to a manifest",
		Endpoints:   []string{"_oras/artifacts/referrers"},
	}}
}

// view is the listing of ORAS artifact manifests, the newest first, those that
// do not say when they were created last. The clients of these routes can read
// no other manifests. The drafts differ in the name of the list.
func view(list string) extensions.Listing {
	return extensions.Listing{
		Name:        "oras-" + list,
		ContentType: "application/json",
		Head:        `{"` + list + `":[`,
		Tail:        "]}",
		Includes:    func(r *extensions.Referrer) bool { return r.MediaType == artifact.MediaType },
		Position: func(r *extensions.Referrer) extensions.Position {
			if r.TypeCreated.IsZero() {
				return extensions.Undated()
			}
			return extensions.NewestFirst(r.TypeCreated)
		},
	}
}
