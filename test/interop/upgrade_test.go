//go:build e2e

package interop_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// bystanders are further repositories on the tree, so that indexing it takes
// longer than it takes to kill the process.
const bystanders = 100

// attached are the manifests that clients have attached to an image.
type attached struct {
	image, sbom, chained digest.Digest
	all                  []digest.Digest // referrers of the image
}

// TestUpgrade lets clients attach artifacts with the stock registry, which has no
// referrers API, so that they fall back to tags. Then it switches to this project's
// binary, kills it twice while it indexes the tree, and requests everything at once. Then
// the stock registry serves the tree again, and the clients continue, and then this
// project's registry again.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	ours, stock := harness.Binary(t), harness.StockBinary(t)
	w := newWorkspace(t, harness.Options{Binary: stock})
	w.cosignSetup()
	w.run("notation", "generate", "mine")
	app := w.attachAll("app")
	w.run("oras", "copy", "-r", "--from-plain-http", "--to-plain-http", w.ref("app:v1"), w.ref("copied:v1"))
	fallback := slices.DeleteFunc(w.Client().Tags("app"), func(tag string) bool { return !fallbackTag.MatchString(tag) })
	if len(fallback) != 2 {
		t.Fatalf("the clients should fall back to tags for the image and the SBOM, the tags are %q", w.Client().Tags("app"))
	}
	api := w.fails("oras", "discover", "--plain-http", "--distribution-spec", "v1.1-referrers-api", w.ref("app:v1"))
	expectContains(t, "what oras says without falling back", api, "referrers API")
	others := w.seedBystanders()

	for range 2 {
		w.RestartWith(ours)
		w.AwaitLog(`indexed a repository's referrers|repositories are ready`)
		w.Kill()
	}
	w.RestartWith(ours)
	w.expectAll("app", app)
	w.expectAll("copied", app)
	for repository, want := range others {
		expectSame(t, "what is listed in "+repository, w.listed(repository, want.image), want.all...)
	}
	app.all = append(app.all, w.orasAttach("app:v1", "application/vnd.example.note", "hello.txt"))
	w.expectAll("app", app)
	expectSame(t, "the tags after the upgrade", w.Client().Tags("app"), append(fallback, "v1")...)

	w.RestartWith(stock)
	w.expectPulls("app", app)
	w.expectPulls("copied", attached{image: app.image, sbom: app.sbom, chained: app.chained})
	w.run(cosignVerify("mine", w.ref("app@"+app.image.String()))...)
	app.all = append(app.all, w.orasAttach("app:v1", "application/vnd.example.meanwhile", "hello.txt"))

	w.RestartWith(ours)
	w.expectAll("app", app)
}

// attachAll pushes an image and attaches artifacts with every client that can.
func (w *workspace) attachAll(repository string) attached {
	w.t.Helper()
	w.regctlSetup()
	a := attached{image: w.image(repository + ":v1")}
	subject := w.ref(repository + "@" + a.image.String())
	a.sbom = w.orasAttach(repository+":v1", "application/vnd.example.sbom", "sbom.json", "--annotation", "org.example.tool=scanner")
	a.chained = w.orasAttach(repository+"@"+a.sbom.String(), "application/vnd.example.signature", "note.txt")
	w.regctlAttach(repository+":v1", "application/vnd.example.note", "note.txt")
	w.run(cosignSign("mine", subject)...)
	w.run(cosignSign("theirs", subject)...)
	w.run(cosignAttest("mine", subject)...)
	w.run("notation", "sign", "mine", subject)
	a.all = w.orasDiscover(repository+":v1", "--depth", "1").all()
	if len(a.all) != 6 {
		w.t.Fatalf("six artifacts were attached, the clients find %v", a.all)
	}
	return a
}

// expectAll expects the registry and all clients to list what was attached.
func (w *workspace) expectAll(repository string, want attached) {
	w.t.Helper()
	w.regctlSetup()
	tagged, subject := repository+":v1", w.ref(repository+"@"+want.image.String())
	client := w.Client()
	expectSame(w.t, "what the registry lists in "+repository, w.listed(repository, want.image), want.all...)
	sboms := client.Referrers(harness.OCI, repository, want.image, "artifactType", "application/vnd.example.sbom")
	if len(sboms) != 1 || sboms[0].Digest != want.sbom || sboms[0].Annotations["org.example.tool"] != "scanner" {
		w.t.Errorf("the SBOM is listed as %+v", sboms)
	}
	expectSame(w.t, "what oras discovers in "+repository, w.orasDiscover(tagged).all(), append(slices.Clone(want.all), want.chained)...)
	expectSame(w.t, "what regctl lists in "+repository, w.regctlList(tagged), want.all...)
	w.run(cosignVerify("mine", subject)...)
	w.run(cosignVerify("theirs", subject)...)
	w.run(cosignVerifyAttestation("mine", subject)...)
	w.run("notation", "verify", "mine", subject)
}

// expectPulls expects clients to pull the artifacts without listings.
func (w *workspace) expectPulls(repository string, want attached) {
	w.t.Helper()
	client := w.Client()
	for _, d := range append(slices.Clone(want.all), want.image, want.sbom, want.chained) {
		client.GetManifest(repository, d.String()).Expect(http.StatusOK).ExpectHeader("Docker-Content-Digest", d.String())
	}
	w.run("crane", "validate", "--remote", w.ref(repository+":v1"))
	w.run("crane", "pull", w.ref(repository+":v1"), repository+".tar")
	for _, d := range append(slices.Clone(want.all), want.chained) {
		w.run("oras", "pull", "--plain-http", "-o", "pulled", w.ref(repository+"@"+d.String()))
	}
}

// seedBystanders pushes images with one referrer each to repositories of their own.
func (w *workspace) seedBystanders() map[string]attached {
	w.t.Helper()
	client := w.Client()
	seeded := map[string]attached{}
	for i := range bystanders {
		repository := fmt.Sprintf("many/%03d", i)
		image := client.PushImage(repository, "v1", repository)
		config := client.PushBlob(repository, []byte("{}"))
		config.MediaType = "application/vnd.example.sbom"
		referrer := client.MustPush(repository, "", harness.OCIImage(config).To(image))
		seeded[repository] = attached{image: image.Digest, all: []digest.Digest{referrer.Digest}}
	}
	return seeded
}
