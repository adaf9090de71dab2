package browse

import (
	"cmp"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// class is what something is for, as far as its type says.
type class struct {
	Name string // with a capital, for people
	Kind string // for summaries and colors: signature, sbom, attestation, report, image, other
}

// The kinds of what is attached, in the order of summaries, with their names.
var kinds = []struct{ kind, one, many string }{
	{"signature", "signature attached", "signatures attached"},
	{"sbom", "SBOM attached", "SBOMs attached"},
	{"attestation", "attestation attached", "attestations attached"},
	{"report", "report attached", "reports attached"},
	{"other", "other artifact attached", "other artifacts attached"},
}

// known are the types that have a plain name. Nothing is verified: a type is what somebody
// has said.
var known = map[string]class{
	"application/vnd.dev.cosign.artifact.sig.v1+json":            {"Signature (cosign)", "signature"},
	"application/vnd.dev.cosign.simplesigning.v1+json":           {"Signature (cosign)", "signature"},
	"application/vnd.cncf.notary.signature":                      {"Signature (Notary Project)", "signature"},
	"application/vnd.cncf.notary.v2.signature":                   {"Signature (Notary Project)", "signature"},
	"application/spdx+json":                                      {"SBOM (SPDX)", "sbom"},
	"text/spdx+json":                                             {"SBOM (SPDX)", "sbom"},
	"text/spdx":                                                  {"SBOM (SPDX)", "sbom"},
	"application/vnd.cyclonedx":                                  {"SBOM (CycloneDX)", "sbom"},
	"application/vnd.cyclonedx+json":                             {"SBOM (CycloneDX)", "sbom"},
	"application/vnd.cyclonedx+xml":                              {"SBOM (CycloneDX)", "sbom"},
	"application/vnd.syft+json":                                  {"SBOM (Syft)", "sbom"},
	"application/vnd.dev.cosign.artifact.sbom.v1+json":           {"SBOM (cosign)", "sbom"},
	"application/vnd.in-toto+json":                               {"Attestation (in-toto)", "attestation"},
	"application/vnd.in-toto.bundle":                             {"Attestation (in-toto)", "attestation"},
	"application/vnd.dsse.envelope.v1+json":                      {"Attestation (DSSE)", "attestation"},
	"application/vnd.docker.attestation.manifest.v1+json":        {"Attestation (BuildKit)", "attestation"},
	"application/vex+json":                                       {"VEX statement", "attestation"},
	"application/vnd.openvex+json":                               {"VEX statement (OpenVEX)", "attestation"},
	"application/sarif+json":                                     {"Scan report (SARIF)", "report"},
	"application/vnd.aquasec.trivy.report.sarif.v1":              {"Scan report (Trivy)", "report"},
	"application/vnd.security.vulnerability.report; version=1.1": {"Vulnerability report", "report"},
	"application/vnd.cncf.helm.config.v1+json":                   {"Helm chart", "other"},
	"application/vnd.cncf.flux.config.v1+json":                   {"Flux configuration", "other"},
	"application/vnd.wasm.config.v0+json":                        {"WebAssembly component", "other"},
	"application/vnd.cncf.openpolicyagent.config.v1+json":        {"Policy (Open Policy Agent)", "other"},
	v1.MediaTypeEmptyJSON:                                        {"Artifact", "other"},
	v1.MediaTypeImageConfig:                                      {"Image", "image"},
	typeDockerConfig:                                             {"Image", "image"},
	v1.MediaTypeImageIndex:                                       {"Multi-platform image", "image"},
	typeDockerList:                                               {"Multi-platform image", "image"},
}

// The annotations by which Sigstore's bundles say what they contain.
const (
	bundlePrefix    = "application/vnd.dev.sigstore.bundle"
	bundleContent   = "dev.sigstore.bundle.content"
	bundlePredicate = "dev.sigstore.bundle.predicateType"
)

// The predicates of attestations that have a plain name.
var predicates = map[string]class{
	"https://spdx.dev/Document":                       {"SBOM attestation (SPDX)", "sbom"},
	"https://cyclonedx.org/bom":                       {"SBOM attestation (CycloneDX)", "sbom"},
	"https://slsa.dev/provenance/v0.2":                {"Provenance (SLSA)", "attestation"},
	"https://slsa.dev/provenance/v1":                  {"Provenance (SLSA)", "attestation"},
	"https://openvex.dev/ns":                          {"VEX statement (OpenVEX)", "attestation"},
	"https://openvex.dev/ns/v0.2.0":                   {"VEX statement (OpenVEX)", "attestation"},
	"https://cosign.sigstore.dev/attestation/vuln/v1": {"Vulnerability report", "report"},
	"https://sigstore.dev/cosign/sign/v1":             {"Signature (Sigstore)", "signature"},
	"https://in-toto.io/attestation/vulns/v0.1":       {"Vulnerability report", "report"},
	"https://in-toto.io/attestation/test-result/v0.1": {"Test result", "report"},
}

// classify is what a type is called, with the annotations of the manifest if the type
// leaves open what it is.
func classify(kind string, annotations map[string]string) class {
	if c, ok := known[kind]; ok {
		return c
	}
	if !strings.HasPrefix(kind, bundlePrefix) {
		return class{cmp.Or(clip(kind, maxName), "Artifact"), "other"}
	}
	if c, ok := predicates[annotations[bundlePredicate]]; ok {
		return c
	}
	switch annotations[bundleContent] {
	case "message-signature":
		return class{"Signature (Sigstore)", "signature"}
	case "dsse-envelope":
		return class{"Attestation (Sigstore)", "attestation"}
	}
	return class{"Signature or attestation (Sigstore)", "signature"}
}
