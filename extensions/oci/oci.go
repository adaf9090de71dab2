// Package oci is the extension for OCI 1.1: the referrers API, the OCI-Subject
// header, the discovery of extensions, and the short-lived OCI artifact manifest.
// See README.md in this folder.
package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions"
)

// Extension implements extensions.Extension.
type Extension struct {
	orasArtifacts bool // are listed as well
}

// New makes the extension.
func New() *Extension { return &Extension{} }

// Name implements extensions.Extension.
func (*Extension) Name() string { return "oci" }

// Configure implements extensions.Configurer. It takes the form
// that the ORAS project's fork used, `ext: [discover]`.
func (e *Extension) Configure(section extensions.Section) error {
	var keys struct {
		Ext           []string `yaml:"ext"`
		ORASArtifacts bool     `yaml:"orasartifacts"`
	}
	decodeErr := section.Decode(&keys)
	err := decodeErr
	for i, text := range keys.Ext {
		if text != "discover" && (text != "" || decodeErr == nil) { // empty is also what is no text
			err = errors.Join(err, section.Errorf(fmt.Sprintf("ext[%d]", i), "%q is unknown; known: discover", text))
		}
	}
	e.orasArtifacts = keys.ORASArtifacts
	return err
}

// ManifestTypes implements extensions.ManifestTyper.
func (*Extension) ManifestTypes() []extensions.ManifestType {
	return []extensions.ManifestType{artifact}
}

// Routes implements extensions.Router.
func (e *Extension) Routes(services extensions.Services) []extensions.Route {
	view := e.view()
	discovery := serveDiscovery(services.Descriptions)
	return []extensions.Route{
		{
			Name: "oci_referrers",
			Path: "/v2/{name}/referrers/{reference}",
			Serve: func(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
				return view.Serve(w, r, services.Referrers, target.Repository.Name(), target.Reference)
			},
		},
		{Name: "oci_discover", Path: "/v2/_oci/ext/discover", Serve: discovery},
		{Name: "oci_discover_repository", Path: "/v2/{name}/_oci/ext/discover", Serve: discovery},
	}
}

// Descriptions implements extensions.Describer.
func (*Extension) Descriptions() []extensions.Description {
	return []extensions.Description{{
		Name:        "_oci",
		URL:         "https://github.com/opencontainers/distribution-spec/tree/main/extensions",
		Description: "the discovery of extensions",
		Endpoints:   []string{"_oci/ext/discover"},
	}}
}

// orasArtifact is the media type of ORAS artifact manifests. Clients of today
// follow every entry of this listing, and fail on a type that they do not know.
const orasArtifact = "application/vnd.cncf.oras.artifact.manifest.v1+json"

// view is the listing of distribution-spec v1.1, "Listing Referrers": an image
// index, the oldest first, because cosign takes the last entry for the newest.
func (e *Extension) view() extensions.Listing {
	return extensions.Listing{
		Name:        "oci",
		ContentType: v1.MediaTypeImageIndex,
		Head:        `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[`,
		Tail:        "]}",
		Includes:    func(r *extensions.Referrer) bool { return e.orasArtifacts || r.MediaType != orasArtifact },
		Position: func(r *extensions.Referrer) extensions.Position {
			switch {
			case !r.OCICreated.IsZero():
				return extensions.OldestFirst(r.OCICreated)
			case !r.TypeCreated.IsZero():
				return extensions.OldestFirst(r.TypeCreated)
			}
			return extensions.OldestFirst(r.Pushed)
		},
		Filtered: http.Header{"OCI-Filters-Applied": {"artifactType"}},
	}
}

func serveDiscovery(descriptions []extensions.Description) func(http.ResponseWriter, *http.Request, extensions.Target) error {
	return func(w http.ResponseWriter, r *http.Request, _ extensions.Target) error {
		body, err := json.Marshal(map[string]any{"extensions": descriptions})
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusOK)
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
		return nil
	}
}
