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
		"artifact":         {`{"mediaType":"` + MediaTypeORASArtifact + `","blobs":[` + desc(c) + `]}`, []digest.Digest{c}, ""},
		"other case":       {`{` + image + `,"Config":` + desc(a) + `,"LAYERS":[` + desc(b) + `]}`, []digest.Digest{a, b}, ""},
		"member twice":     {`{` + image + `,"layers":[` + desc(a) + `],"layers":[` + desc(b) + `]}`, []digest.Digest{a, b}, ""},
		"of another kind":  {`{` + image + `,"layers":[` + desc(a) + `],"manifests":[` + desc(b) + `]}`, []digest.Digest{a, b}, ""},
		"digest not valid": {`{` + image + `,"layers":[{"digest":"sha1:00"},` + desc(b) + `,null]}`, []digest.Digest{b}, ""},
		"nothing":          {`{` + image + `,"config":null,"layers":null}`, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			references, subject, err := Reach([]byte(test.content))
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
		if _, _, err := Reach([]byte(content)); err == nil {
			t.Errorf("%s is taken for a manifest", content)
		}
	}
	if _, _, err := Reach([]byte(`{"schemaVersion":1}`)); !errors.Is(err, ErrUnknown) {
		t.Errorf("the error is %v, want ErrUnknown", err)
	}
}
