package hostile_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// maxPage is the limit for the body of a page, in bytes.
const maxPage = 4_000_000

// An entry is listed without its annotations if these are larger than
// extensions.referrers.maxannotations: it might not fit on a page otherwise.
func TestAnnotationsOfFourMebibytes(t *testing.T) {
	for name, config := range map[string]struct {
		yaml string
		most int
	}{
		"default":    {"", 256 << 10},
		"configured": {"extensions: {referrers: {maxannotations: 1000}}", 1000},
	} {
		t.Run(name, func(t *testing.T) {
			c := harness.Start(t, harness.Options{Config: config.yaml}).Client()
			image := c.PushImage("app", "v1", "layer")
			annotated := func(size int) harness.Manifest { // of so many bytes of JSON
				return harness.ORASArtifact("a/b").To(image).Annotated("x", strings.Repeat("y", size-len(`{"x":""}`)))
			}
			small, large, huge := annotated(config.most), annotated(config.most+1), annotated((4<<20)-600)
			many := harness.ORASArtifact("a/b").To(image)
			many.Annotations = map[string]string{}
			for i := range 200_000 {
				many.Annotations[fmt.Sprint(i)] = ""
			}
			want := map[digest.Digest]bool{}
			for _, m := range []harness.Manifest{small, large, huge, many} {
				c.MustPush("app", "", m)
				c.GetManifest("app", m.Digest().String()).Expect(http.StatusOK).ExpectBody(m.Bytes())
				want[m.Digest()] = m.Digest() == small.Digest()
			}
			for _, route := range harness.Routes() {
				pages := c.Walk(route, route.Path("app", image.Digest), nil)
				count := 0
				for _, page := range pages {
					if len(page.Body) > maxPage {
						t.Errorf("a page of %d bytes", len(page.Body))
					}
					for _, entry := range page.Entries {
						count++
						if shown := len(entry.Annotations) > 0; shown != want[entry.Digest] || entry.ArtifactType != "a/b" {
							t.Errorf("%s of %d bytes is listed with %d annotations", entry.Digest, entry.Size, len(entry.Annotations))
						}
					}
				}
				if count != len(want) {
					t.Errorf("%s lists %d, want %d", route.Name, count, len(want))
				}
			}
		})
	}
}

func TestManifestsWithVeryManyBlobs(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	blob := c.PushBlob("app", []byte("x"))
	blob.MediaType = "a"
	missing := make([]harness.Descriptor, 100_000)
	for i := range missing {
		missing[i] = harness.Descriptor{MediaType: "a", Digest: digest.FromString(fmt.Sprint(i)), Size: 1}
	}
	// More than the four mebibytes that a manifest may have.
	c.Push("app", "", harness.ORASArtifact("a/b", missing...).To(image)).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")

	// As many as fit: all of them missing, and all the same.
	const fitting = 30_000
	idle := r.Memory()
	resp := c.Push("app", "", harness.ORASArtifact("a/b", missing[:fitting]...).To(image))
	resp.ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	if len(resp.Body) > 100_000 || len(resp.Problems()) < 100 {
		t.Errorf("%d problems in %d bytes", len(resp.Problems()), len(resp.Body))
	}
	same := make([]harness.Descriptor, fitting)
	for i := range same {
		same[i] = blob
	}
	m := harness.ORASArtifact("a/b", same...).To(image)
	c.MustPush("app", "", m)
	for i := range missing[:300] { // and many different ones that exist
		missing[i] = c.PushBlob("app", fmt.Append(nil, i))
	}
	c.MustPush("app", "", harness.ORASArtifact("a/b", missing[:300]...).To(image))
	if found := c.Referrers(harness.Draft1, "app", image.Digest); len(found) != 2 {
		t.Errorf("%d are listed", len(found))
	}
	grown := r.Memory() - idle
	t.Logf("%d MiB more", grown>>20)
	if grown > harness.MiB(300) {
		t.Errorf("%d bytes more in use", grown)
	}
}

func TestNestedAndRepeatedJSON(t *testing.T) {
	c := harness.Start(t, harness.Options{}).Client()
	image := c.PushImage("app", "v1", "layer")
	config := c.PushBlob("app", []byte("{}"))
	deep := func(open, end string, depth int) string {
		return strings.Repeat(open, depth) + strings.Repeat(end, depth)
	}
	artifact := `{"mediaType":"` + harness.MediaTypeORASArtifact + `","artifactType":"a/b"`
	for name, body := range map[string]string{
		"lists":        artifact + `,"unknown":` + deep("[", "]", 1_000_000) + "}",
		"objects":      artifact + `,"unknown":` + strings.Repeat(`{"a":`, 500_000) + "1" + strings.Repeat("}", 500_000) + "}",
		"unclosed":     artifact + `,"unknown":` + strings.Repeat("[", 3_000_000),
		"in blobs":     artifact + `,"blobs":` + deep("[", "]", 100_000) + "}",
		"in subject":   artifact + `,"subject":` + deep("[", "]", 100_000) + "}",
		"whole":        deep("[", "]", 1_000_000),
		"two subjects": artifact + `,"subject":null,"subject":{"mediaType":"a/b","digest":"` + image.Digest.String() + `","size":1}}`,
		"two types":    `{"mediaType":"` + harness.MediaTypeORASArtifact + `","mediaType":"` + harness.MediaTypeORASArtifact + `","artifactType":"a/b"}`,
		"a digest twice": artifact + `,"subject":{"mediaType":"a/b","digest":"` + config.Digest.String() +
			`","digest":"` + image.Digest.String() + `","size":1}}`,
	} {
		m := harness.Manifest{ContentType: harness.MediaTypeORASArtifact, Raw: []byte(body)}
		if resp := c.Push("app", "", m); resp.Status != http.StatusBadRequest {
			t.Errorf("%s: %s", name, resp)
		}
	}
	image2 := harness.OCIImage(config)
	subject := `,"subject":{"mediaType":"a/b","digest":"` + image.Digest.String() + `","size":1}`
	image2.Raw = []byte(strings.TrimSuffix(string(image2.Bytes()), "}") + subject + subject + "}")
	c.Push("app", "", image2).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
	// Names that differ in case are other names, and unknown.
	other := harness.Manifest{ContentType: harness.MediaTypeORASArtifact, Raw: []byte(artifact + strings.Replace(subject, "subject", "Subject", 1) + "}")}
	c.Push("app", "", other).Expect(http.StatusCreated).ExpectNoHeader("OCI-Subject")
	for _, route := range harness.Routes() {
		if found := c.Referrers(route, "app", image.Digest); len(found) > 0 {
			t.Errorf("%s lists %v", route.Name, found)
		}
	}
}

// No token, however crafted, causes more than a 400.
func TestTokensAtRandom(t *testing.T) {
	c := harness.Start(t, harness.Options{Driver: harness.InMemory}).Client()
	image := c.PushImage("app", "v1", "layer")
	for i := range 3 {
		c.MustPush("app", "", harness.ORASArtifact("a/b").To(image).Annotated("n", fmt.Sprint(i)))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var tokens []string
	for _, route := range harness.Routes() {
		next := c.Page(route, route.With("app", image.Digest, "n", "1")).Next()
		_, token, _ := strings.Cut(next, "nextToken=")
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token, token+"A", token[1:], strings.ToUpper(token))
		for range 200 {
			changed := bytes.Clone(raw)
			for range 1 + rng.IntN(4) {
				changed[rng.IntN(len(changed))] = byte(rng.IntN(256))
			}
			tokens = append(tokens, base64.RawURLEncoding.EncodeToString(changed[:1+rng.IntN(len(changed))]),
				base64.RawURLEncoding.EncodeToString(changed))
		}
	}
	for _, token := range tokens {
		for _, route := range harness.Routes() {
			resp := c.Get(route.With("app", image.Digest, "nextToken", token, "n", "2"))
			if resp.Status == http.StatusOK {
				route.Entries(resp)
				resp.Next()
			} else {
				resp.Expect(http.StatusBadRequest)
			}
		}
	}
}

// Requests for what does not exist must not use memory permanently.
func TestVeryManySubjectsAskedFor(t *testing.T) {
	r := harness.Start(t, harness.Options{
		Config: "log: {accesslog: {disabled: true}}\nextensions: {referrers: {cachesize: 8388608}}",
	})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	signature := harness.ORASArtifact("a/b").To(image)
	c.MustPush("app", "", signature)
	before := files(t, r.Root)
	ask := func(count int, path func(i int) string) {
		var workers sync.WaitGroup
		for worker := range 8 {
			workers.Go(func() {
				for i := worker; i < count; i += 8 {
					if resp := c.Get(path(i)); resp.Status != http.StatusOK || !bytes.Contains(resp.Body, []byte("[]")) {
						t.Errorf("%s", resp)
						return
					}
				}
			})
		}
		workers.Wait()
	}
	subject := func(i int) digest.Digest { return digest.FromString(fmt.Sprint("subject ", i)) }
	inApp := func(i int) string { return harness.Routes()[i%3].Path("app", subject(i)) }
	ask(10_000, inApp)
	idle := r.Memory()
	ask(100_000, inApp)
	afterSubjects := r.Memory()
	ask(20_000, func(i int) string { return harness.OCI.Path(fmt.Sprint("unknown/", i), image.Digest) })
	afterNames := r.Memory()
	t.Logf("in use: %d MiB after 10,000 subjects, %d MiB after 100,000 more, %d MiB after 20,000 unknown repositories",
		idle>>20, afterSubjects>>20, afterNames>>20)
	if afterSubjects-idle > harness.MiB(48) || afterNames-afterSubjects > harness.MiB(64) {
		t.Error("the memory in use grows with what is asked for")
	}
	sameFiles(t, r.Root, before)
	if found := c.Referrers(harness.OCI, "app", image.Digest); len(found) != 1 || found[0].Digest != signature.Digest() {
		t.Errorf("listed: %v", found)
	}
}
