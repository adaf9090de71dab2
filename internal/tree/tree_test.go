package tree_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/tree"
)

var update = flag.Bool("update", false, "write the files in testdata")

const (
	imageType    = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	artifactType = "application/vnd.cncf.oras.artifact.manifest.v1+json"
)

func node(text, mediaType, artifactType string, referrers ...*tree.Node) *tree.Node {
	if referrers == nil {
		referrers = []*tree.Node{}
	}
	return &tree.Node{
		MediaType: mediaType, ArtifactType: artifactType, Digest: digest.FromString(text), Size: int64(len(text)), Referrers: referrers,
	}
}

func root(reference string, n *tree.Node) *tree.Node {
	n.Reference = reference
	return n
}

// index is an index with its children: one for each platform, and one that is missing.
func index(n *tree.Node) *tree.Node {
	amd, arm, other, missing := node("amd64", imageType, "", node("signature", artifactType, "signature/example")),
		node("arm64", imageType, ""), node("other", imageType, ""), node("missing", imageType, "")
	amd.Platform, arm.Platform, missing.Platform, missing.Missing = "linux/amd64", "linux/arm64/v8", "windows/amd64", true
	n.Manifests = []*tree.Node{other, amd, arm, missing}
	return n
}

// forests are what is drawn, as the commands hand it over: by type, then by digest.
func forests() map[string][]*tree.Node {
	again := node("sbom", artifactType, "sbom/example")
	again.Repeated = true
	return map[string][]*tree.Node{
		"nothing": {},
		"bare":    {root("demo:v1", node("image", imageType, ""))},
		"signed": {
			root("demo:v1", node("image", imageType, "",
				node("sbom", artifactType, "sbom/example", node("signature of the sbom", artifactType, "signature/example")),
				node("signature", artifactType, "signature/example"), node("signature 2", artifactType, "signature/example"),
			)),
			root("demo@"+digest.FromString("other").String(), node("other", imageType, "", node("untyped", imageType, ""), node("older", "", ""))),
		},
		"circle": {root("demo:loop", node("sbom", artifactType, "sbom/example", node("signature", artifactType, "signature/example", again)))},
		"index":  {root("demo:v2", index(node("index", indexType, "", node("sbom", artifactType, "sbom/example"))))},
		"quoted": {root("demo:v1", node("image", imageType, "", node("odd", artifactType, "a\"<b>c"), node("unicode", artifactType, "größe/例")))},
	}
}

// What is drawn is what the files in testdata show. Run the test with -update to
// write them again, and read what has changed.
func TestDrawings(t *testing.T) {
	for format, draw := range map[string]func(io.Writer, []*tree.Node) error{"txt": tree.Text, "json": tree.JSON, "mermaid": tree.Mermaid} {
		for name, forest := range forests() {
			var got bytes.Buffer
			if err := draw(&got, forest); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+"."+format)
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: got\n%s, want\n%s", file, &got, want)
			}
		}
	}
}
