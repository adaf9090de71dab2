package oci

import "github.com/oras-distribution/registry/extensions"

// artifact is the OCI artifact manifest of image-spec v1.1.0-rc.1 and rc.2, which
// was withdrawn before v1.1.0. Clients of late 2022 push it.
var artifact = extensions.ManifestType{
	MediaType:            "application/vnd.oci.artifact.manifest.v1+json",
	References:           []string{"blobs[]"},
	CreatedAnnotation:    extensions.AnnotationOCICreated,
	ArtifactTypeRequired: true,
}
