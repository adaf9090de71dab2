package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// converted runs `registry referrers convert --format json`.
func converted(t *testing.T, args ...string) (conversions, error) {
	t.Helper()
	out, _, err := run(append([]string{"convert", "--format", "json"}, args...)...)
	var c conversions
	if jsonErr := json.Unmarshal([]byte(out), &c); jsonErr != nil {
		t.Fatalf("%v: %v\n%s", err, jsonErr, out)
	}
	return c, err
}

// of returns the digest that a manifest was converted to, and its state.
func (c conversions) of(d digest.Digest) (image digest.Digest, state string) {
	for _, r := range c.Manifests {
		if r.Digest == d {
			return r.Image, string(r.State)
		}
	}
	return "", "not there"
}

// files are all files of the storage tree but those that are derived, with their contents.
func (a attached) files(t *testing.T) []string {
	t.Helper()
	var files []string
	err := a.driver.Walk(t.Context(), "/", func(info storagedriver.FileInfo) error {
		if info.IsDir() || strings.Contains(info.Path(), "/derived/") {
			return nil
		}
		content, err := a.driver.GetContent(t.Context(), info.Path())
		files = append(files, info.Path()+" "+string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// image reads a stored image manifest.
func (a attached) manifest(t *testing.T, d digest.Digest) (m v1.Manifest) {
	t.Helper()
	content, err := a.driver.GetContent(t.Context(), layout.BlobData(d))
	if err == nil {
		err = json.Unmarshal(content, &m)
	}
	if err != nil || !a.has(layout.RevisionLink("demo", d)) {
		t.Fatalf("%s is not a manifest of the repository: %v\n%s", d, err, content)
	}
	return m
}

func TestConvert(t *testing.T) {
	a := newAttached(t)
	before := a.files(t)
	dry, _, err := run("convert", "--dry-run", a.config)
	if err != nil || dry != "1 repository: 2 to be converted, 0 already converted, 0 skipped, 0 failed\n" {
		t.Errorf("dry run: %v\n%s", err, dry)
	}
	if c, err := converted(t, "--dry-run", a.config); err != nil || c.Pending != 2 || c.Converted != 0 || !c.DryRun {
		t.Errorf("dry run: %v, %+v", err, c)
	}
	if !slices.Equal(a.files(t), before) {
		t.Error("a dry run changed the storage")
	}

	c, err := converted(t, a.config)
	if err != nil || c.Converted != 2 || c.Repositories != 1 || len(c.Manifests) != 2 {
		t.Fatalf("%v, %+v", err, c)
	}
	sbom, _ := c.of(a.sbom)
	signing, _ := c.of(a.signing)
	if m := a.manifest(t, sbom); m.ArtifactType != "sbom/example" || m.Subject.Digest != a.image || m.Annotations[manifest.AnnotationConvertedFrom] != a.sbom.String() {
		t.Errorf("the SBOM is now %+v", m)
	}
	if m := a.manifest(t, signing); m.ArtifactType != "signature/example" || m.Subject.Digest != sbom || m.Subject.MediaType != v1.MediaTypeImageManifest {
		t.Errorf("the signature is now %+v", m)
	}
	for subject, referrer := range map[digest.Digest]digest.Digest{a.image: sbom, sbom: signing} {
		if !a.has(layout.ReferrerLink("demo", subject, referrer)) {
			t.Errorf("%s is not linked to %s", referrer, subject)
		}
	}
	if empty := digest.FromString("{}"); !a.has(layout.LayerLink("demo", empty)) || !a.has(layout.BlobData(empty)) {
		t.Error("the empty config is not in the repository")
	}

	after := a.files(t)
	if out, progress, err := run("convert", a.config, "demo", "demo"); err != nil || out != "1 repository: 0 converted, 2 already converted, 0 skipped, 0 failed\n" || !strings.Contains(progress, "5 manifests, 2 artifacts") {
		t.Errorf("again: %v\n%s%s", err, out, progress)
	}
	if !slices.Equal(a.files(t), after) {
		t.Error("converting again changed the storage")
	}
	for _, args := range [][]string{{"none"}, {"Demo"}, {"demo", "--format", "xml"}, {"demo", "none"}} {
		if out, _, err := run(append([]string{"convert", a.config}, args...)...); err == nil {
			t.Errorf("%q: no error\n%s", args, out)
		}
	}
}

// What a run that was killed has left undone is done by the next.
func TestConvertAfterAKill(t *testing.T) {
	a := newAttached(t)
	c, err := converted(t, a.config)
	if err != nil {
		t.Fatal(err)
	}
	whole := a.files(t)
	sbom, _ := c.of(a.sbom)
	signing, _ := c.of(a.signing)
	for _, lost := range [][]string{
		{layout.Referrer("demo", a.image, sbom)},
		{layout.Referrer("demo", sbom, signing), layout.Revision("demo", signing)},
		{layout.Referrer("demo", a.image, sbom), layout.Revision("demo", sbom), layout.BlobFolder(sbom)},
		{layout.Layer("demo", digest.FromString("{}"))},
	} {
		for _, path := range lost {
			if err := a.driver.Delete(t.Context(), path); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := converted(t, a.config); err != nil || c.Failed+c.Skipped > 0 {
			t.Errorf("without %s: %v, %+v", lost, err, c)
		}
		if !slices.Equal(a.files(t), whole) {
			t.Errorf("what was lost has not been stored again: %s", lost)
		}
	}
	a.put(t, layout.BlobData(sbom), "torn")
	if c, err := converted(t, a.config); err != nil || c.Converted != 1 || !slices.Equal(a.files(t), whole) {
		t.Errorf("with a torn manifest: %v, %+v", err, c)
	}
}

// What cannot be converted is named, and the rest is converted.
func TestConvertNamesWhatItCannot(t *testing.T) {
	a := newAttached(t)
	blob := func(d digest.Digest, size int) string {
		return fmt.Sprintf(`{"mediaType":%q,"artifactType":"t","blobs":[{"mediaType":"a/b","digest":%q,"size":%d}]}`, orasArtifact, d, size)
	}
	a.put(t, layout.BlobData(digest.FromString("blob")), "blob")
	a.put(t, layout.LayerLink("demo", digest.FromString("blob")), digest.FromString("blob").String())
	twice := a.store(t, `{"mediaType":"`+orasArtifact+`","artifactType":"t","artifactType":"u"}`)
	onTwice := a.store(t, artifactOf("on-twice", twice))
	missing := a.store(t, blob(digest.FromString("missing"), 1))
	wrongSize := a.store(t, blob(digest.FromString("blob"), 5))
	sound := a.store(t, blob(digest.FromString("blob"), 4))
	orphan := a.store(t, artifactOf("orphan", digest.FromString("gone")))
	onOrphan := a.store(t, artifactOf("on-orphan", orphan))
	torn := a.store(t, artifactOf("torn", a.image))
	onTorn := a.store(t, artifactOf("on-torn", torn))
	garbage := a.store(t, `{"artifactType"`)
	a.store(t, `{"schemaVersion":1,"name":"demo"}`) // of a type that is not served any more
	a.put(t, layout.BlobData(torn), "torn")
	deleted := a.store(t, artifactOf("deleted", a.image))
	onDeleted := a.store(t, artifactOf("on-deleted", deleted))
	if err := a.driver.Delete(t.Context(), layout.RevisionLink("demo", deleted)); err != nil {
		t.Fatal(err)
	}

	out, _, err := run("convert", a.config)
	if err == nil || !strings.Contains(err.Error(), "manifests could not be converted") {
		t.Errorf("%v\n%s", err, out)
	}
	for d, want := range map[digest.Digest]string{
		twice:     "failed demo@%s: artifactType: stands more than once",
		onTwice:   "failed demo@%s: its subject " + twice.String() + " could not be converted",
		missing:   "failed demo@%s: blob " + digest.FromString("missing").String() + " is not in the repository",
		wrongSize: "failed demo@%s: the size of blob " + digest.FromString("blob").String() + " is given as 5, but it has 4 bytes",
		orphan:    "skipped demo@%s: its subject " + digest.FromString("gone").String() + " is not in the repository",
		onOrphan:  "skipped demo@%s: its subject " + orphan.String() + " was skipped",
		torn:      "failed demo@%s: its bytes do not have its digest",
		onTorn:    "failed demo@%s: its subject " + torn.String() + " cannot be read",
		garbage:   "failed demo@%s: not JSON",
		onDeleted: "skipped demo@%s: its subject " + deleted.String() + " is not in the repository",
	} {
		if want = fmt.Sprintf(want, d); !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	c, err := converted(t, a.config)
	if err == nil || c.Failed != 7 || c.Skipped != 3 || c.Unchanged != 3 {
		t.Errorf("again: %v, %+v", err, c)
	}
	for _, d := range []digest.Digest{a.sbom, a.signing, sound} {
		if image, state := c.of(d); state != "unchanged" {
			t.Errorf("%s: %s", d, state)
		} else if m := a.manifest(t, image); len(m.Layers) == 0 {
			t.Errorf("%s has no layers: %+v", image, m)
		}
	}
}

// An artifact may have manifests among its blobs. As layers of an image they are
// blobs of the repository, too.
func TestConvertManifestsAsBlobs(t *testing.T) {
	a := newAttached(t)
	info, err := a.driver.Stat(t.Context(), layout.BlobData(a.image))
	if err != nil {
		t.Fatal(err)
	}
	bundle := a.store(t, fmt.Sprintf(`{"mediaType":%q,"artifactType":"bundle","blobs":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		orasArtifact, v1.MediaTypeImageManifest, a.image, info.Size()))
	before := a.files(t)
	if c, err := converted(t, "--dry-run", a.config); err != nil || c.Pending != 3 || !slices.Equal(a.files(t), before) {
		t.Errorf("dry run: %v, %+v", err, c)
	}
	c, err := converted(t, a.config)
	image, state := c.of(bundle)
	if err != nil || state != "converted" || a.manifest(t, image).Layers[0].Digest != a.image || !a.has(layout.LayerLink("demo", a.image)) {
		t.Errorf("%v: %s, %+v", err, state, c)
	}
}

// Nothing is stored where that is forbidden or belongs to another registry.
func TestConvertIsRefused(t *testing.T) {
	a := newAttached(t)
	before := a.files(t)
	for name, value := range map[string]string{
		"REGISTRY_STORAGE_MAINTENANCE_READONLY": "{enabled: true}",
		"REGISTRY_PROXY_REMOTEURL":              "https://registry.example.com",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if out, _, err := run("convert", a.config); err == nil || !slices.Equal(a.files(t), before) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Setenv("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}")
	if c, err := converted(t, "--dry-run", a.config); err != nil || c.Pending != 2 {
		t.Errorf("dry run: %v, %+v", err, c)
	}
}

// A storage that cannot be written is one error, and not one for each manifest.
func TestConvertWithoutAPlaceForTheConfig(t *testing.T) {
	a := newAttached(t)
	a.put(t, layout.Blobs+"/sha256/44", "a file where the folder of the empty config should be")
	out, _, err := run("convert", a.config)
	if err == nil || !strings.Contains(err.Error(), "incomplete: repository demo: storing the empty config: ") || strings.Contains(out, "failed demo") {
		t.Errorf("%v\n%s", err, out)
	}
}
