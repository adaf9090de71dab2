package oras

import "github.com/oras-distribution/registry/extensions"

// artifact is the ORAS artifact manifest (artifacts-spec v1.0.0-rc.2, "Artifact
// Manifest Properties"). Clients of draft.1 leave mediaType out of the body.
var artifact = extensions.ManifestType{
	MediaType:            "application/vnd.cncf.oras.artifact.manifest.v1+json",
	References:           []string{"blobs[]"},
	CreatedAnnotation:    extensions.AnnotationORASCreated,
	MediaTypeOptional:    true,
	ArtifactTypeRequired: true,
	SubjectMustExist:     true,
	Convertible:          true,
}
