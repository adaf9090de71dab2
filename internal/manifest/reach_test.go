package manifest

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const testType = "application/vnd.example.manifest"

var testTypes = NewTypes(Type{MediaType: testType, References: []string{"blobs[]"}})

func TestReach(t *testing.T) {
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.SHA512.FromString("c")
	desc := func(d digest.Digest) string {
		return fmt.Sprintf(`{"mediaType":"m","digest":%q,"size":1}`, d)
	}
	image := `"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageManifest + `"`
	for name, test := range map[string]struct {
		content string
		want    []digest.Digest
		subject digest.Digest
	}{
		"image":            {`{` + image + `,"config":` + desc(a) + `,"layers":[` + desc(b) + `]}`, []digest.Digest{a, b}, ""},
		"subject":          {`{` + image + `,"config":` + desc(a) + `,"subject":` + desc(b) + `}`, []digest.Digest{a}, b},
		"broken subject":   {`{` + image + `,"config":` + desc(a) + `,"subject":{"digest":"x"}}`, []digest.Digest{a}, ""},
		"Docker list":      {`{"schemaVersion":2,"mediaType":"` + MediaTypeDockerList + `","manifests":[` + desc(a) + `]}`, []digest.Digest{a}, ""},
		"artifact":         {`{"mediaType":"` + testType + `","blobs":[` + desc(c) + `]}`, []digest.Digest{c}, ""},
		"other letters":    {`{` + image + `,"layer\u017f":[` + desc(b) + `]}`, []digest.Digest{b}, ""},
		"other case":       {`{` + image + `,"Config":` + desc(a) + `,"LAYERS":[` + desc(b) + `]}`, []digest.Digest{a, b}, ""},
		"member twice":     {`{` + image + `,"layers":[` + desc(a) + `],"layers":[` + desc(b) + `]}`, []digest.Digest{a, b}, ""},
		"of another type":  {`{` + image + `,"layers":[` + desc(a) + `],"manifests":[` + desc(b) + `]}`, []digest.Digest{a, b}, ""},
		"digest not valid": {`{` + image + `,"layers":[{"digest":"sha1:00"},` + desc(b) + `,null]}`, []digest.Digest{b}, ""},
		"nothing":          {`{` + image + `,"config":null,"layers":null}`, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			references, subject, err := testTypes.Reach([]byte(test.content))
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, r := range references {
				got = append(got, r.Digest.String())
			}
			for _, d := range test.want {
				want = append(want, d.String())
			}
			sort.Strings(got)
			sort.Strings(want)
			if strings.Join(got, " ") != strings.Join(want, " ") || subject != test.subject {
				t.Errorf("reaches %v and the subject %q, want %v and %q", got, subject, want, test.subject)
			}
		})
	}
	for _, content := range []string{``, `[]`, `{`, `{"schemaVersion":1}`, `{` + image + `,"layers":7}`, `{` + image + `,"config":[]}`} {
		if _, _, err := testTypes.Reach([]byte(content)); err == nil {
			t.Errorf("%s is taken for a manifest", content)
		}
	}
	if _, _, err := testTypes.Reach([]byte(`{"schemaVersion":1}`)); !errors.Is(err, ErrUnknown) {
		t.Errorf("the error is %v, want ErrUnknown", err)
	}
}

// Whatever Parse takes for a reference or the subject is reached: nothing that is
// listed or served is collected.
func FuzzReach(f *testing.F) {
	a, b := digest.FromString("a"), digest.SHA512.FromString("b")
	f.Add(fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q,"size":1},"layers":[{"digest":%q}],"subject":{"digest":%q}}`, a, b, a))
	f.Add(fmt.Appendf(nil, `{"mediaType":%q,"blobs":[{"digest":%q}],"blobs":[],"Layers":[{"Digest":%q}]}`, testType, a, b))
	f.Add(fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q,"digest":%q},null,7]}`, a, b))
	f.Add([]byte(`{"schemaVersion":2,"layers":[{"digest":"sha256:00","size":-1}],"\u006cayers":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		references, subject, err := testTypes.Reach(content)
		if err != nil {
			return
		}
		parsed, err := testTypes.Parse(content)
		if err != nil {
			t.Fatalf("reached, but not parsed: %v", err)
		}
		// Docker's manifests know no subject, but to keep more than that is harmless.
		if parsed.Subject != nil && parsed.Subject.Digest != subject {
			t.Errorf("the subject is %s for one, %q for the other", parsed.Subject.Digest, subject)
		}
		reached := map[digest.Digest]bool{}
		for _, r := range references {
			reached[r.Digest] = true
		}
		for _, r := range parsed.References {
			if !reached[r.Digest] {
				t.Errorf("%s is referenced, and not reached", r.Digest)
			}
		}
	})
}
