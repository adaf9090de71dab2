package upgrade

import (
	"net/http"
	"testing"

	"github.com/oras-distribution/registry/test/internal/documents"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// TestDocument follows docs/upgrading.md with the executables: from the stock registry to
// ours, back, and to ours again. It runs the commands there, and checks what the page
// says in between.
func TestDocument(t *testing.T) {
	t.Parallel()
	page := documents.Read(t, "docs/upgrading.md")
	upgrade, back := page.In("From a stock registry"), page.In("Going back to a stock registry")
	if len(upgrade) != 4 || len(back) != 1 {
		t.Fatalf("the page has %d and %d blocks", len(upgrade), len(back))
	}
	ours, stock := harness.Binary(t), harness.StockBinary(t)
	r := harness.Start(t, harness.Options{Binary: stock})
	shell := documents.NewShell(t, "config.yml", r.Config)
	images := map[string]harness.Descriptor{"app": {}, "tools": {}}
	for name := range images {
		images[name] = attachWithStock(r.Client(), name)
	}
	documents.Run(t, shell, upgrade[:2])

	r.RestartWith(ours)
	for name, image := range images {
		expectReferrers(t, r, name, image, 2)
	}
	documents.Run(t, shell, upgrade[2:])
	image := images["app"]
	artifact := r.Client().MustPush("app", "", harness.ORASArtifact("sbom/example").To(image))
	signature := r.Client().MustPush("app", "", harness.OCIIndex().Typed("signature/example").To(image))

	r.RestartWith(stock)
	for _, pulled := range []harness.Descriptor{image, signature} {
		r.Client().GetManifest("app", pulled.Digest.String()).Expect(http.StatusOK)
	}
	r.Client().Get("/v2/app/referrers/" + image.Digest.String()).Expect(http.StatusNotFound)
	r.Client().GetManifest("app", artifact.Digest.String()).Expect(http.StatusInternalServerError)
	r.Client().DeleteManifest("app", signature.Digest)
	meanwhile := r.Client().MustPush("app", "", harness.OCIIndex().Typed("meanwhile/example").To(image))
	documents.Run(t, shell, back)

	r.RestartWith(ours)
	listed := expectReferrers(t, r, "app", image, 4)
	if !listed[artifact.Digest.String()] || !listed[meanwhile.Digest.String()] {
		t.Errorf("what was pushed is not listed: %v", listed)
	}
}

// attachWithStock pushes an image, and attaches one manifest by its subject and one by a
// tag, as clients do that find no referrers API. These are four manifests.
func attachWithStock(stock *harness.Client, repository string) (image harness.Descriptor) {
	image = stock.PushImage(repository, "v1", "a layer")
	stock.MustPush(repository, "", harness.OCIIndex().Typed("sbom/example").To(image))
	note := stock.MustPush(repository, "", harness.OCIIndex().Typed("note/example"))
	stock.MustPush(repository, tagOf(image.Digest), harness.OCIIndex(note))
	return image
}

func expectReferrers(t *testing.T, r *harness.Registry, repository string, image harness.Descriptor, count int) map[string]bool {
	t.Helper()
	listed := map[string]bool{}
	for _, d := range r.Client().Referrers(harness.OCI, repository, image.Digest) {
		listed[d.Digest.String()] = true
	}
	if len(listed) != count {
		t.Errorf("%s has %d referrers, want %d: %v", repository, len(listed), count, listed)
	}
	return listed
}
