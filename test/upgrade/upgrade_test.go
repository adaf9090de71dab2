// Package upgrade takes trees that other registries wrote, lists the referrers in them
// with ours, and goes back.
package upgrade

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/faultdriver"
	"github.com/oras-distribution/registry/test/internal/harness"
	"github.com/oras-distribution/registry/test/internal/inprocess"
)

const repository = "team/app"

// stores are the driver names that the object store pretends to have: code lists
// folders differently for the first one.
var stores = []string{"inmemory", "objects"}

// old is a tree of a stock registry, and the attached manifests in it.
type old struct {
	tree             *faultdriver.Objects
	subject, missing harness.Descriptor // missing is a subject that does not exist
	blob             harness.Descriptor
	attached         []harness.Manifest            // to subject
	pulls            map[string]harness.Descriptor // by tag or digest
}

// write makes a tree with the stock registry: manifests that name their subject
// themselves, and manifests that only a referrers-tag index attaches, with descriptors
// that differ from the manifests.
func write(t *testing.T, store string) *old {
	t.Helper()
	o := &old{tree: faultdriver.NewObjects(store), pulls: map[string]harness.Descriptor{}}
	stock := inprocess.Stock(t, o.tree, inprocess.Options{})
	o.subject = stock.PushImage(repository, "v1", "a layer")
	o.pulls["v1"] = o.subject
	o.missing = harness.Descriptor{MediaType: harness.MediaTypeOCIImage, Digest: digest.FromString("missing"), Size: 7}
	o.blob = stock.PushBlob(repository, []byte(`{}`))
	o.blob.MediaType = "application/vnd.example.config"

	signature := harness.OCIImage(o.blob, o.blob).Annotated("what", "signature without subject")
	sbom := harness.OCIImage(o.blob, o.blob).Typed("sbom/example").Annotated("what", "SBOM")
	o.attached = []harness.Manifest{
		harness.OCIImage(o.blob, o.blob).Annotated("what", "image with subject").To(o.subject),
		harness.OCIIndex(o.subject).Typed("index/example").To(o.subject),
		sbom.To(o.subject),
		signature,
	}
	for _, m := range append(o.attached, sbom.To(o.missing)) {
		o.push(stock, "", m)
	}
	// It is listed in the index, but names another subject itself.
	o.push(stock, "", harness.OCIImage(o.blob).Annotated("what", "of another subject").To(o.missing))
	stranger := harness.OCIImage(o.blob).Annotated("what", "of another subject").To(o.missing).Descriptor()
	o.push(stock, "", harness.OCIImage(o.blob).Annotated("what", "attached to nothing"))

	o.push(stock, tagOf(o.subject.Digest), harness.OCIIndex(
		lying(signature.Descriptor()), lying(sbom.To(o.subject).Descriptor()), lying(stranger)))
	o.push(stock, tagOf(o.subject.Digest)+".sig", harness.OCIImage(o.blob).Annotated("what", "cosign's own tag"))
	if err := stock.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// push pushes a manifest, and records that it can be pulled.
func (o *old) push(r *inprocess.Registry, tag string, m harness.Manifest) {
	d := r.MustPush(repository, tag, m)
	o.pulls[d.Digest.String()] = d
	if tag != "" {
		o.pulls[tag] = d
	}
}

func tagOf(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() }

// lying is a wrong descriptor of a manifest, as a careless client writes it.
func lying(d harness.Descriptor) harness.Descriptor {
	d.ArtifactType = "wrong/type"
	d.Annotations = map[string]string{"what": "a lie"}
	return d
}

// expectListed expects the listing to describe exactly these manifests as they
// describe themselves.
func expectListed(t *testing.T, r *inprocess.Registry, subject digest.Digest, manifests []harness.Manifest) {
	t.Helper()
	byDigest := map[digest.Digest]harness.Descriptor{}
	for _, d := range r.For(t).Referrers(harness.OCI, repository, subject) {
		if _, twice := byDigest[d.Digest]; twice {
			t.Errorf("%s is listed twice", d.Digest)
		}
		byDigest[d.Digest] = d
	}
	for _, m := range manifests {
		got, _ := json.Marshal(byDigest[m.Digest()])
		want, _ := json.Marshal(m.Listed())
		if string(got) != string(want) {
			t.Errorf("listed is %s\nexpected  %s", got, want)
		}
		delete(byDigest, m.Digest())
	}
	for d := range byDigest {
		t.Errorf("listed is also %s", d)
	}
}

// expectPulls expects everything to be pulled as it was pushed.
func (o *old) expectPulls(t *testing.T, r *inprocess.Registry) {
	t.Helper()
	for _, reference := range slices.Sorted(maps.Keys(o.pulls)) {
		want := o.pulls[reference]
		resp := r.For(t).GetManifest(repository, reference)
		if resp.Status != http.StatusOK || digest.FromBytes(resp.Body) != want.Digest || resp.Header.Get("Content-Type") != want.MediaType {
			t.Errorf("pulling %s (%s): %s", reference, want.MediaType, resp)
		}
	}
}

func eachStore(t *testing.T, test func(t *testing.T, o *old)) {
	t.Helper()
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			test(t, write(t, store))
		})
	}
}

// Everything that was attached is listed at once, whether the tree is indexed on request
// or in the background, or may not be written to.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]inprocess.Options{
		"on demand": {}, "in the background": {Background: true}, "read-only": {ReadOnly: true}, "read-only in the background": {ReadOnly: true, Background: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachStore(t, func(t *testing.T, o *old) {
				files := o.tree.Files()
				for range 2 { // the second start finds the derived files of the first
					r := inprocess.Start(t, o.tree, options)
					expectListed(t, r, o.subject.Digest, o.attached)
					expectListed(t, r, o.subject.Digest, o.attached)
					if n := len(r.For(t).Referrers(harness.OCI, repository, o.missing.Digest)); n != 2 {
						t.Errorf("the subject that does not exist has %d referrers", n)
					}
					o.expectPulls(t, r)
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				}
				if options.ReadOnly && !slices.Equal(o.tree.Files(), files) {
					t.Error("files were written in read-only mode")
				}
			})
		})
	}
}

// After a kill at any operation of indexing, the next start continues.
func TestKilled(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, o *old) {
		points := 0
		for {
			tree := o.tree.Clone()
			driver := faultdriver.New(tree)
			killed := inprocess.Start(t, driver, inprocess.Options{})
			driver.Reset()
			driver.FailFrom(points+1, faultdriver.Fail) // nothing of what follows is done
			resp := killed.For(t).Get(harness.OCI.Path(repository, o.subject.Digest))
			if len(driver.Hit()) == 0 {
				break
			}
			whole := resp.Status == http.StatusOK && len(harness.OCI.Entries(resp)) == len(o.attached)
			if resp.Status/100 != 5 && !whole { // what is derived need not be written
				t.Errorf("killed at operation %d: %s", points+1, resp)
			}
			points++
			// Again, a little later, and then to the end.
			second := faultdriver.New(tree)
			again := inprocess.Start(t, second, inprocess.Options{Background: true})
			second.Reset()
			second.FailFrom(points+3, faultdriver.Fail)
			again.For(t).Get(harness.OCI.Path(repository, o.subject.Digest))
			last := inprocess.Start(t, tree, inprocess.Options{})
			expectListed(t, last, o.subject.Digest, o.attached)
			if err := last.Close(); err != nil {
				t.Error(err)
			}
		}
		if points < 10 {
			t.Errorf("there were only %d operations to be killed at", points)
		}
		t.Logf("killed at %d operations", points)
	})
}

// A stock registry works on the tree afterwards: it serves everything, and when ours is
// back, it lists what was pushed meanwhile and no longer what was deleted.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, o *old) {
		for round := range 3 {
			ours := inprocess.Start(t, o.tree, inprocess.Options{})
			expectListed(t, ours, o.subject.Digest, o.attached)
			own := harness.OCIImage(o.blob).Annotated("pushed to ours in round", fmt.Sprint(round)).To(o.subject)
			o.push(ours, "", own)
			o.attached = append(o.attached, own)
			expectListed(t, ours, o.subject.Digest, o.attached)
			if err := ours.Close(); err != nil {
				t.Fatal(err)
			}

			stock := inprocess.Stock(t, o.tree, inprocess.Options{})
			o.expectPulls(t, stock)
			o.meanwhile(t, stock, round)
			if err := stock.Close(); err != nil {
				t.Fatal(err)
			}
		}
		readOnly := inprocess.Start(t, o.tree, inprocess.Options{ReadOnly: true})
		expectListed(t, readOnly, o.subject.Digest, o.attached)
		ours := inprocess.Start(t, o.tree, inprocess.Options{})
		expectListed(t, ours, o.subject.Digest, o.attached)
		o.expectPulls(t, ours)
	})
}

// meanwhile deletes the oldest attached manifest, and attaches two: one names its
// subject, one is in the referrers-tag index.
func (o *old) meanwhile(t *testing.T, stock *inprocess.Registry, round int) {
	t.Helper()
	gone := o.attached[0].Digest()
	stock.For(t).DeleteManifest(repository, gone)
	maps.DeleteFunc(o.pulls, func(_ string, d harness.Descriptor) bool { return d.Digest == gone })
	direct := harness.OCIImage(o.blob).Annotated("pushed to stock in round", fmt.Sprint(round)).To(o.subject)
	tagged := harness.OCIImage(o.blob).Annotated("tagged by stock in round", fmt.Sprint(round))
	o.push(stock, "", direct)
	o.push(stock, "", tagged)
	o.attached = append(o.attached[1:], direct, tagged)
	var list []harness.Descriptor
	for _, m := range o.attached {
		list = append(list, lying(m.Descriptor()))
	}
	o.push(stock, tagOf(o.subject.Digest), harness.OCIIndex(list...))
}

// The tag of a sha512 subject has half of its digest. What it lists is attached to the
// manifest of the repository that has such a digest, or else to the one subject that
// manifests name.
func TestTagsOfSHA512Subjects(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, o *old) {
		before := inprocess.Start(t, o.tree, inprocess.Options{})
		push := func(r *inprocess.Registry, m harness.Manifest) harness.Descriptor {
			return r.For(t).MustPush(repository, "", m)
		}
		subject := push(before, harness.OCIImage(o.blob).Annotated("is", "the subject").By(digest.SHA512))
		absent, unknown, alike := subject, subject, subject
		absent.Digest, unknown.Digest = digest.SHA512.FromString("absent"), digest.SHA512.FromString("unknown")
		if alike.Digest = subject.Digest[:len(subject.Digest)-1] + "0"; alike.Digest == subject.Digest {
			alike.Digest = subject.Digest[:len(subject.Digest)-1] + "1"
		}
		sibling := harness.OCIImage(o.blob).To(absent)
		push(before, sibling)
		push(before, harness.OCIImage(o.blob).To(alike))
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		stock := inprocess.Stock(t, o.tree, inprocess.Options{})
		attached := func(to harness.Descriptor) harness.Manifest {
			m := harness.OCIImage(o.blob).Annotated("attached to", to.Digest.String())
			tag := tagOf(to.Digest)[:len("sha512-")+64]
			stock.For(t).MustPush(repository, tag, harness.OCIIndex(lying(push(stock, m))))
			return m
		}
		toSubject, toAbsent := attached(subject), attached(absent)
		attached(unknown)
		for _, readOnly := range []bool{true, false} {
			ours := inprocess.Start(t, o.tree, inprocess.Options{ReadOnly: readOnly})
			expectListed(t, ours, subject.Digest, []harness.Manifest{toSubject})
			expectListed(t, ours, absent.Digest, []harness.Manifest{sibling, toAbsent})
			expectListed(t, ours, unknown.Digest, nil)
		}
	})
}

// put writes a link file.
func put(t *testing.T, driver storagedriver.StorageDriver, path string, d digest.Digest) {
	t.Helper()
	if err := driver.PutContent(context.Background(), path, []byte(d)); err != nil {
		t.Fatal(err)
	}
}

// Trees of all earlier implementations, which stored their links in other places.
func TestEarlierLayouts(t *testing.T) {
	t.Parallel()
	const root = "/docker/registry/v2/"
	const home = root + "repositories/" + repository
	at := func(d digest.Digest) string { return d.Algorithm().String() + "/" + d.Encoded() }
	for name, link := range map[string]func(subject, referrer digest.Digest) string{
		"v0.0": func(subject, referrer digest.Digest) string {
			return home + "/_manifests/revisions/" + at(subject) + "/ref/" + digest.FromString("sbom/example").Encoded() + "/" + at(referrer) + "/link"
		},
		"rc.1": func(subject, referrer digest.Digest) string {
			return home + "/_refs/subjects/" + at(subject) + "/" + at(referrer) + "/link"
		},
		"rc.4": func(subject, referrer digest.Digest) string {
			return home + "/_referrers/subjects/" + at(subject) + "/" + at(referrer) + "/link"
		},
		"proposal": func(subject, referrer digest.Digest) string {
			return home + "/_manifests/revisions/" + at(subject) + "/_referrers/" + at(referrer) + "/link"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachStore(t, func(t *testing.T, o *old) {
				artifacts := []harness.Manifest{
					harness.ORASArtifact("sbom/example", o.blob).To(o.subject),
					harness.ORASArtifact("sbom/example").To(o.subject).Annotated("io.cncf.oras.artifact.created", "2022-05-01T10:00:00Z"),
				}
				draft := harness.ORASArtifact("draft/example").To(o.subject)
				draft.MediaType = "" // draft.1 clients left it out
				for _, m := range append(artifacts, draft) {
					d := m.Digest()
					if err := o.tree.PutContent(t.Context(), root+"blobs/sha256/"+d.Encoded()[:2]+"/"+d.Encoded()+"/data", m.Bytes()); err != nil {
						t.Fatal(err)
					}
					put(t, o.tree, home+"/_manifests/revisions/"+at(d)+"/link", d)
					put(t, o.tree, link(o.subject.Digest, d), d)
					o.pulls[d.String()] = m.Descriptor()
					o.attached = append(o.attached, m)
				}
				// A link of theirs whose manifest is gone.
				put(t, o.tree, link(o.subject.Digest, digest.FromString("gone")), digest.FromString("gone"))

				ours := inprocess.Start(t, o.tree, inprocess.Options{})
				expectListed(t, ours, o.subject.Digest, o.attached)
				o.expectPulls(t, ours)
				last := o.attached[len(o.attached)-1]
				ours.For(t).DeleteManifest(repository, last.Digest())
				expectListed(t, ours, o.subject.Digest, o.attached[:len(o.attached)-1])
				if err := ours.Close(); err != nil {
					t.Error(err)
				}
				again := inprocess.Start(t, o.tree, inprocess.Options{})
				expectListed(t, again, o.subject.Digest, o.attached[:len(o.attached)-1])

				// A stock registry serves the types that it knows.
				stock := inprocess.Stock(t, o.tree, inprocess.Options{})
				maps.DeleteFunc(o.pulls, func(_ string, d harness.Descriptor) bool {
					return strings.Contains(d.MediaType, "oras")
				})
				o.expectPulls(t, stock)
			})
		})
	}
}
