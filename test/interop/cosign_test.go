//go:build e2e

package interop_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// oldFormat makes cosign write and read signatures as it did before bundles, in
// manifests with a subject.
var (
	oldFormat       = []string{"--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false", "--registry-referrers-mode", "oci-1-1"}
	oldFormatVerify = []string{"--new-bundle-format=false", "--experimental-oci11"}
	experimental    = []string{"COSIGN_EXPERIMENTAL=1"}
)

// cosignSetup makes two key pairs, in the folders mine and theirs, and the files that
// tell cosign not to use any sigstore service.
func (w *workspace) cosignSetup() {
	w.t.Helper()
	for _, folder := range []string{"mine", "theirs"} {
		if err := os.Mkdir(filepath.Join(w.folder, folder), 0o700); err != nil {
			w.t.Fatal(err)
		}
		w.run("cosign", "generate-key-pair", "--output-key-prefix", folder+"/cosign")
	}
	w.run("cosign", "signing-config", "create", "--out", "services.json")
	w.run("cosign", "trusted-root", "create", "--out", "root.json")
}

func cosignSign(key, subject string) []string {
	return []string{"cosign", "sign", "--yes", "--key", key + "/cosign.key", "--signing-config", "services.json", "--trusted-root", "root.json", subject}
}

func cosignAttest(key, subject string) []string {
	return []string{
		"cosign", "attest", "--yes", "--key", key + "/cosign.key", "--signing-config", "services.json", "--trusted-root", "root.json",
		"--type", "custom", "--predicate", "sbom.json", subject,
	}
}

func cosignVerify(key, subject string) []string {
	return []string{"cosign", "verify", "--key", key + "/cosign.pub", "--insecure-ignore-tlog", subject}
}

func cosignVerifyAttestation(key, subject string) []string {
	return []string{"cosign", "verify-attestation", "--key", key + "/cosign.pub", "--insecure-ignore-tlog", "--type", "custom", subject}
}

// TestCosign signs and attests an image with two keys, as cosign does by default: with
// bundles. Each key verifies its own.
func TestCosign(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	w.cosignSetup()
	image := w.image("app:v1")
	subject := w.ref("app@" + image.String())
	w.fails(cosignVerify("mine", subject)...)
	w.run(cosignSign("mine", subject)...)
	w.run(cosignVerify("mine", subject)...)
	w.fails(cosignVerify("theirs", subject)...)
	w.run(cosignSign("theirs", subject)...)
	for _, key := range []string{"mine", "theirs"} {
		w.run(cosignVerify(key, subject)...)
		w.fails(cosignVerifyAttestation(key, subject)...)
		w.run(cosignAttest(key, subject)...)
		w.run(cosignVerifyAttestation(key, subject)...)
	}
	listed := w.listed("app", image)
	if len(listed) != 4 {
		t.Errorf("two signatures and two attestations were pushed, %d are listed", len(listed))
	}
	tree := w.run("cosign", "tree", subject)
	for _, d := range listed {
		expectContains(t, "the tree that cosign prints", tree, d.String())
	}
	note := w.orasAttach("app:v1", "application/vnd.example.note", "note.txt")
	w.run("cosign", "clean", "--force", "--type", "referrer", subject)
	expectSame(t, "what is left after cosign has cleaned", w.listed("app", image), note)
	w.fails(cosignVerify("mine", subject)...)
	expectSame(t, "the tags", w.Client().Tags("app"), "v1")
	w.expectNoFallback()
}

// TestCosignNewestWins signs twice in cosign's older format: of several signatures
// it verifies the one that is listed last, which must be the newest.
func TestCosignNewestWins(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	w.cosignSetup()
	image := w.image("app:v1")
	subject := w.ref("app@" + image.String())
	verify := func(key string) []string { return append(cosignVerify(key, subject), oldFormatVerify...) }
	sign := func(key string) {
		w.runWith(experimental, append([]string{"cosign", "sign", "--yes", "--key", key + "/cosign.key", subject}, oldFormat...)...)
	}
	for count, keys := range [][2]string{{"mine", "theirs"}, {"theirs", "mine"}, {"mine", "theirs"}} {
		nextTime()
		sign(keys[0])
		w.run(verify(keys[0])...)
		w.fails(verify(keys[1])...)
		if listed := w.listed("app", image); len(listed) != count+1 {
			t.Errorf("%d signatures were pushed, %d are listed: %v", count+1, len(listed), listed)
		}
	}
	expectSame(t, "the tags", w.Client().Tags("app"), "v1")
	w.expectNoFallback()
}

// nextTime lets the clock go on to a time that the storage can tell from this one. These
// signatures have no time of their own, and object stores know theirs to the second.
func nextTime() {
	if os.Getenv(harness.StorageVariable) != "" {
		now := time.Now()
		<-time.After(now.Truncate(time.Second).Add(time.Second).Sub(now))
	}
}

// TestCosignSignsReferrers signs an SBOM that is attached to an image: a chain.
func TestCosignSignsReferrers(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, harness.Options{})
	w.cosignSetup()
	image := w.image("app:v1")
	sbom := w.orasAttach("app:v1", "application/vnd.example.sbom", "sbom.json")
	w.run(cosignSign("mine", w.ref("app@"+sbom.String()))...)
	w.run(cosignVerify("mine", w.ref("app@"+sbom.String()))...)
	signatures := w.listed("app", sbom)
	if len(signatures) != 1 {
		t.Fatalf("one signature was pushed, these are listed: %v", signatures)
	}
	expectSame(t, "what oras discovers", w.orasDiscover("app@"+image.String()).all(), []digest.Digest{sbom, signatures[0]}...)
	w.expectNoFallback()
}
