package oras

import "github.com/oras-distribution/registry/internal/manifest"

// artifact is the ORAS artifact manifest (artifacts-spec v1.0.0-rc.2, "Artifact
// Manifest Properties"). Clients of draft.1 leave mediaType out of the body.
var artifact = manifest.Artifact{
	MediaType:         manifest.MediaTypeORASArtifact,
	MediaTypeOptional: true,
	SubjectMustExist:  true,
	CreatedAnnotation: manifest.AnnotationORASCreated,
}
