package blackbox_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// bySHA512 is everyKind with manifests that are pushed by their sha512 digests, the
// image among them.
func bySHA512(c *harness.Client, repository string) (image harness.Descriptor, list []fixture) {
	pushed, list := everyKind(c, repository)
	content := c.GetManifest(repository, pushed.Digest.String()).Expect(http.StatusOK).Body
	m := harness.Manifest{ContentType: pushed.MediaType, Raw: content}.By(digest.SHA512)
	image = c.MustPush(repository, "", m)
	for i := range list {
		if list[i].manifest.Subject != nil && list[i].manifest.Raw == nil {
			list[i].manifest = list[i].manifest.To(image)
		}
		list[i].manifest = list[i].manifest.By(digest.SHA512)
	}
	return image, append(list, fixture{"OCI index of sha512 digests", harness.OCIIndex(image).By(digest.SHA512)})
}

func TestManifestsArePushedBySHA512(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		_, kinds := bySHA512(c, "app")
		for _, kind := range kinds {
			t.Run(kind.name, func(t *testing.T) {
				c, m := c.For(t), kind.manifest
				path := harness.ManifestPath("app", m.Digest().String())
				for range 2 {
					pushed := c.Push("app", "", m).Expect(http.StatusCreated)
					pushed.ExpectHeader("Docker-Content-Digest", m.Digest().String()).ExpectHeader("Location", c.URL+path)
					if m.Subject != nil && m.Subject.Digest.Algorithm() == digest.SHA512 {
						pushed.ExpectHeader("OCI-Subject", m.Subject.Digest.String())
					}
				}
				for _, path := range []string{path, "/oras/artifacts/v1" + strings.TrimPrefix(path, "/v2")} {
					expectManifest(c.Get(path, harness.AcceptAll), m).ExpectBody(m.Bytes())
					expectManifest(c.Head(path, harness.AcceptAll), m).ExpectBody(nil)
					c.Get(path, harness.AcceptAll, `If-None-Match: "`+m.Digest().String()+`"`).Expect(http.StatusNotModified)
				}
				c.GetManifest("app", m.By(digest.SHA256).Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
				c.GetManifest("other", m.Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
			})
		}
		equal(t, "tags", c.Tags("app"), []string{"v1"})
	})
}

func TestManifestsThatArePushedBySHA512AreVerified(t *testing.T) {
	onEveryDriver(t, func(t *testing.T, c *harness.Client) {
		image, _ := bySHA512(c, "app")
		missing := harness.BlobDescriptor([]byte("missing"))
		missing.Digest = digest.SHA512.FromString("missing")
		for _, m := range []harness.Manifest{
			harness.OCIImage(missing), harness.OCIIndex(missing), harness.DockerImage(missing),
			harness.ORASArtifact("sbom/example", missing), harness.OCIImage(missing).To(image),
		} {
			m = m.By(digest.SHA512)
			c.Push("app", "", m).ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			expectGone(t, c, "app", m)
		}
		index, wrong := harness.OCIIndex(image), digest.SHA512.FromString("wrong").String()
		c.Push("app", wrong, index).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		c.Push("app", digest.SHA384.FromBytes(index.Bytes()).String(), index).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		c.Push("app", "sha512:abc", index).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		index.ContentType = "text/plain"
		c.Push("app", "", index.By(digest.SHA512)).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
		// The media types that stand for this inside the registry are no clients' business.
		index.ContentType = harness.MediaTypeOCIIndex + "+sha512"
		for _, reference := range []string{"tag", index.Digest().String(), index.By(digest.SHA512).Digest().String()} {
			c.Push("app", reference, index).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
		}
	})
}

// The same bytes pushed by two digests are two manifests: each is listed and deleted by
// itself.
func TestTwoNamesOfOneManifest(t *testing.T) {
	configured(t, "storage: {cache: {blobdescriptor: inmemory}}", func(t *testing.T, r *harness.Registry) {
		c := r.Client()
		image, kinds := bySHA512(c, "app")
		for _, kind := range kinds {
			long, short := kind.manifest, kind.manifest.By(digest.SHA256)
			c.MustPush("app", "", long)
			c.MustPush("app", "", short)
			subject := image.Digest
			if long.Subject != nil {
				subject = long.Subject.Digest
			}
			listed := func(what string, want ...harness.Manifest) {
				for _, route := range harness.Routes() {
					var digests []digest.Digest
					for _, m := range want {
						if m.Subject != nil && (route.Name == harness.OCI.Name || m.ContentType == harness.MediaTypeORASArtifact) {
							digests = append(digests, m.Digest())
						}
					}
					sameDigests(t, kind.name+" "+what+" by "+route.Name, c.Referrers(route, "app", subject), digests...)
				}
			}
			listed("twice", long, short)
			c.DeleteManifest("app", long.Digest())
			expectGone(t, c, "app", long)
			expectManifest(c.GetManifest("app", short.Digest().String()), short)
			listed("by sha256", short)
			c.MustPush("app", "", long)
			c.DeleteManifest("app", short.Digest())
			expectGone(t, c, "app", short)
			expectManifest(c.GetManifest("app", long.Digest().String()), long)
			listed("by sha512", long)
			c.DeleteManifest("app", long.Digest())
			c.Delete(harness.ManifestPath("app", long.Digest().String())).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
			listed("no more")
		}
	})
}

// What one replica has acknowledged is in the very next answer of the other, by whatever
// digests it is pushed and attached.
func TestTwoReplicasAndSHA512(t *testing.T) {
	a, b := replicas(t)
	image, kinds := bySHA512(a, "app")
	sameDigests(t, "before", b.Referrers(harness.OCI, "app", image.Digest))
	var want []digest.Digest
	for i, kind := range kinds {
		m := kind.manifest
		if m.Subject == nil || m.Raw != nil {
			continue
		}
		if i%2 == 0 {
			m = m.By(digest.SHA256)
		}
		pair := []*harness.Client{a, b, a}[i%2:]
		pair[0].MustPush("app", "", m)
		pair[1].GetManifest("app", m.Digest().String()).Expect(http.StatusOK)
		want = append(want, m.Digest())
		sameDigests(t, "the other, after the push", pair[1].Referrers(harness.OCI, "app", image.Digest), want...)
		sameDigests(t, "the same, after the push", pair[0].Referrers(harness.OCI, "app", image.Digest), want...)
	}
	for i, d := range slices.Clone(want) {
		pair := []*harness.Client{a, b, a}[i%2:]
		pair[0].DeleteManifest("app", d)
		want = want[1:]
		sameDigests(t, "the other, after the deletion", pair[1].Referrers(harness.OCI, "app", image.Digest), want...)
	}
}

// A tree with sha512 content can be verified, rebuilt without its index and shown.
func TestIndexOfSHA512IsRebuilt(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	image, kinds := bySHA512(r.Client(), "app")
	var want []digest.Digest
	for _, kind := range kinds {
		r.Client().MustPush("app", "", kind.manifest)
		if kind.manifest.Subject != nil && kind.manifest.Subject.Digest == image.Digest {
			want = append(want, kind.manifest.Digest())
		}
	}
	sameDigests(t, "referrers", r.Client().Referrers(harness.OCI, "app", image.Digest), want...)
	run := func(exit int, text string, args ...string) {
		t.Helper()
		if got := harness.Run(t, append(args, r.Config)...); got.Exit != exit || !strings.Contains(got.Stdout, text) {
			t.Errorf("%v: %+v", args, got)
		}
	}
	remove := func(path string) {
		t.Helper()
		harness.RemoveAll(t, filepath.Join(r.Root, path))
	}
	run(0, " 0 faults", "referrers", "verify")
	for _, lost := range []string{
		layout.OtherReferrers("app", image.Digest), layout.Referrer("app", image.Digest, want[0]), layout.Subjects("app"), layout.Refs("app"),
	} {
		remove(lost)
		run(1, "missing ", "referrers", "verify")
		run(0, " repaired", "referrers", "verify", "--repair")
		run(0, " 0 faults", "referrers", "verify")
		sameDigests(t, "after a repair", r.Client().Referrers(harness.OCI, "app", image.Digest), want...)
		remove(lost)
		r.Restart()
		sameDigests(t, "after a restart", r.Client().Referrers(harness.OCI, "app", image.Digest), want...)
		run(0, " repaired", "referrers", "verify", "--repair") // of subjects that nobody has listed
	}
	remove(layout.Refs("app"))
	run(0, "links written", "referrers", "rebuild")
	run(0, " 0 faults", "referrers", "verify")
}

// A collection keeps manifests by each of their digests: what a tag needs, with its
// referrers, and nothing else.
func TestGarbageCollectionOfSHA512(t *testing.T) {
	for flag, survivors := range map[string][2]bool{ // the referrer of what is gone, and the untagged name
		"": {true, true}, "--delete-dangling-referrers": {false, true}, "--delete-untagged": {false, false},
	} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			r := harness.Start(t, harness.Options{Driver: harness.SharedDriver()})
			c := r.Client()
			layer := c.PushBlobAs("app", []byte("layer"), digest.SHA512)
			image := harness.OCIImage(emptyConfig(c, "app", harness.MediaTypeOCIConfig), layer).By(digest.SHA512)
			pushTagged(c, image, "v1").Expect(http.StatusCreated)
			index := harness.OCIIndex(c.MustPush("app", "", image.Annotated("a", "child"))).By(digest.SHA512)
			pushTagged(c, index, "index").Expect(http.StatusCreated)
			artifact := harness.ORASArtifact("sbom/example", c.PushBlobAs("app", []byte("blob"), digest.SHA512)).To(image.Descriptor()).By(digest.SHA512)
			c.MustPush("app", "", artifact)
			signature := harness.OCIImage(emptyConfig(c, "app", "application/signature")).To(artifact.Descriptor()).By(digest.SHA512)
			c.MustPush("app", "", signature)
			short := image.By(digest.SHA256) // which has no tag
			c.MustPush("app", "", short)
			deleted := harness.OCIIndex().Annotated("is", "deleted").By(digest.SHA512)
			dangling := harness.OCIIndex().To(c.MustPush("app", "", deleted)).By(digest.SHA512)
			c.MustPush("app", "", dangling)
			c.DeleteManifest("app", deleted.Digest())
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if result := harness.Run(t, slices.DeleteFunc([]string{"garbage-collect", flag, r.Config}, func(arg string) bool { return arg == "" })...); result.Exit != 0 {
					t.Fatalf("garbage-collect: %+v", result)
				}
			}
			if folder := layout.Subject("app", deleted.Digest()); harness.SharedDriver() == harness.Filesystem && !survivors[0] {
				if _, err := os.Stat(filepath.Join(r.Root, folder)); !os.IsNotExist(err) {
					t.Errorf("%s is left: %v", folder, err)
				}
			}
			r.Restart()
			c = r.Client()
			expectManifest(c.GetManifest("app", "v1"), image).ExpectBody(image.Bytes())
			expectManifest(c.GetManifest("app", "index"), index)
			for _, kept := range []harness.Manifest{image, image.Annotated("a", "child"), index, artifact, signature} {
				expectManifest(c.GetManifest("app", kept.Digest().String()), kept).ExpectBody(kept.Bytes())
			}
			c.Get(harness.BlobPath("app", layer.Digest)).ExpectBody([]byte("layer"))
			c.Get(harness.BlobPath("app", artifact.Blobs[0].Digest)).ExpectBody([]byte("blob"))
			sameDigests(t, "referrers", c.Referrers(harness.RC, "app", image.Digest()), artifact.Digest())
			sameDigests(t, "referrers of the referrer", c.Referrers(harness.OCI, "app", artifact.Digest()), signature.Digest())
			for i, m := range []harness.Manifest{dangling, short} {
				want := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[survivors[i]]
				c.GetManifest("app", m.Digest().String()).Expect(want)
				c.MustPush("app", "", m)
			}
			sameDigests(t, "referrers of the deleted", c.Referrers(harness.OCI, "app", deleted.Digest()), dangling.Digest())
		})
	}
}

// Distribution's registry serves what has been pushed by sha512 digests, and its own
// collector keeps the manifests; afterwards this registry serves all of it again.
func TestStockRegistryServesSHA512(t *testing.T) {
	stock := harness.StockBinary(t)
	r := harness.Start(t, harness.Options{Driver: harness.SharedDriver()})
	c := r.Client()
	image := harness.OCIImage(emptyConfig(c, "app", harness.MediaTypeOCIConfig)).By(digest.SHA512)
	pushTagged(c, image, "v1").Expect(http.StatusCreated)
	signature := harness.OCIImage(emptyConfig(c, "app", "application/signature")).To(image.Descriptor()).By(digest.SHA512)
	c.MustPush("app", "", signature)
	r.RestartWith(stock)
	c = r.Client()
	check := func() {
		t.Helper()
		expectManifest(c.GetManifest("app", "v1"), image).ExpectBody(image.Bytes())
		expectManifest(c.GetManifest("app", signature.Digest().String()), signature).ExpectBody(signature.Bytes())
		c.Get(harness.BlobPath("app", image.Config.Digest)).ExpectBody([]byte("{}"))
	}
	check()
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	collected := exec.CommandContext(t.Context(), stock, "garbage-collect", r.Config)
	if output, err := collected.CombinedOutput(); err != nil {
		t.Fatalf("stock garbage-collect: %v\n%s", err, output)
	}
	r.RestartWith(harness.Binary(t))
	c = r.Client()
	check()
	sameDigests(t, "referrers", c.Referrers(harness.OCI, "app", image.Digest()), signature.Digest())
}
