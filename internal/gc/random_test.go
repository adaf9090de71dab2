package gc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
)

// randomReferrers fills a tree with manifests of all kinds: images, indexes and
// artifacts that share blobs and refer to one another across two repositories, to
// deleted manifests, and to manifests that were never pushed.
func randomReferrers(t *tree, random *rand.Rand) {
	for _, repo := range []string{"r", "s/t"} {
		manifests := []v1.Descriptor{nowhere()}
		any := func() v1.Descriptor { return manifests[random.IntN(len(manifests))] }
		for i := range 5 + random.IntN(25) {
			name := fmt.Sprint("m", i)
			subject := any()
			switch random.IntN(10) {
			case 0, 1:
				manifests = append(manifests, t.image(repo, name, fmt.Sprint("layer ", random.IntN(3))))
			case 2:
				if len(manifests) > 1 {
					child := manifests[1+random.IntN(len(manifests)-1)]
					kind := []string{v1.MediaTypeImageIndex, manifest.MediaTypeDockerList}[random.IntN(2)]
					manifests = append(manifests, t.index(repo, name, kind, child))
				}
			case 3:
				manifests = append(manifests, t.signature(repo, name, subject))
			case 4:
				manifests = append(manifests, t.unlinked(repo, name, subject))
			case 5:
				manifests = append(manifests, t.artifact(repo, name, &subject))
			case 6:
				manifests = append(manifests, t.artifact(repo, name, nil))
			case 7:
				attached := t.image(repo, name)
				t.link(repo, subject, attached)
				manifests = append(manifests, attached)
			case 8:
				layer := t.aliased(repo, fmt.Sprint("layer ", random.IntN(3)))
				manifests = append(manifests, t.imageWith(repo, name, layer))
			case 9:
				if subject.Digest != nowhere().Digest && subject.Digest.Algorithm() == digest.Canonical {
					alias := t.renamed(repo, name, subject)
					isAlias := func(d v1.Descriptor) bool { return d.Digest == alias.Digest }
					manifests = append(slices.DeleteFunc(manifests, isAlias), alias)
				}
			}
		}
		last := len(manifests) - 1
		for i, d := range manifests[1:last] {
			switch random.IntN(6) {
			case 0:
				t.tag(repo, fmt.Sprint("v", i), d)
			case 1:
				t.delete(repo, d)
			}
		}
		t.tag(repo, "last", manifests[last])
	}
}

// reachable computes independently, and slowly, what a tag reaches: "repo@digest".
func reachable(all map[string]string) map[string]bool {
	reached := map[string]bool{}
	stored := revisions(all)
	for file, content := range all {
		rest := strings.TrimPrefix(file, layout.Repositories+"/")
		repo, inside, _ := strings.Cut(rest, "/_manifests/tags/")
		if strings.HasSuffix(inside, "/current/link") && slices.Contains(stored, repo+"@"+content) {
			reached[repo+"@"+content] = true
		}
	}
	for before := -1; before != len(reached); {
		before = len(reached)
		for _, revision := range stored {
			repo, d, _ := strings.Cut(revision, "@")
			link := all[layout.RevisionLink(repo, digest.Digest(d))]
			if reached[revision] && slices.Contains(stored, repo+"@"+link) {
				reached[repo+"@"+link] = true // it is an alias
			}
			var m struct {
				Subject   *v1.Descriptor
				Manifests []v1.Descriptor
			}
			_ = json.Unmarshal([]byte(all[layout.BlobData(digest.Digest(link))]), &m)
			for _, child := range m.Manifests {
				if name := repo + "@" + child.Digest.String(); reached[revision] && slices.Contains(stored, name) {
					reached[name] = true
				}
			}
			if m.Subject != nil && reached[repo+"@"+m.Subject.Digest.String()] {
				reached[revision] = true
			}
			for file := range all {
				subject, referrer, ok := layout.ParseReferrer(repo, file)
				if ok && referrer.String() == d && reached[repo+"@"+subject.String()] {
					reached[revision] = true
				}
			}
		}
	}
	return reached
}

func TestRandomReferrers(t *testing.T) {
	for seed := range uint64(60 / sparse) {
		for name, driver := range drivers(t) {
			if name == "filesystem" && seed >= 15 {
				continue // each starts a registry
			}
			t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
				tree := newTree(t, driver())
				randomReferrers(tree, rand.New(rand.NewPCG(seed, 7)))
				before := files(t, tree.driver)
				want := slices.Sorted(maps.Keys(reachable(before)))
				report := collect(t, tree.driver, Options{Untagged: true})
				after := files(t, tree.driver)
				if got := revisions(after); !slices.Equal(got, want) {
					t.Errorf("left are %v, reachable %v", got, want)
				}
				tree.survivors() // checks that nothing else is left
				checkReport(t, before, after, report)
				checkReferrers(t, before, after)
				if again := collect(t, tree.driver, Options{Untagged: true}); removals(again) != 0 {
					t.Errorf("the second run removes %+v", again)
				}
				if d, ok := tree.driver.(disk); ok {
					pullAll(t, d.root, after)
				}
			})
		}
	}
}

// checkReferrers checks that no remaining subject has lost a referrer.
func checkReferrers(t *testing.T, before, after map[string]string) {
	t.Helper()
	stored, left := revisions(before), revisions(after)
	for file, content := range before {
		for _, repo := range []string{"r", "s/t"} {
			subject, referrer, ok := layout.ParseReferrer(repo, file)
			if ok && slices.Contains(stored, repo+"@"+referrer.String()) &&
				slices.Contains(left, repo+"@"+subject.String()) && after[file] != content {
				t.Errorf("the link from %s to its subject %s in %s is gone", referrer, subject, repo)
			}
		}
	}
}

// pullAll pulls over HTTP, from a registry on the tree, all manifests that
// distribution can serve, and the blobs of all.
func pullAll(t *testing.T, root string, all map[string]string) {
	t.Helper()
	config := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem":  {"rootdirectory": root},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.HTTP.Secret = "secret"
	config.Catalog.MaxEntries = 1
	server := httptest.NewServer(handlers.NewApp(context.Background(), config))
	defer server.Close()
	for _, revision := range revisions(all) {
		repo, text, _ := strings.Cut(revision, "@")
		d := digest.Digest(text)
		content := []byte(all[layout.BlobData(digest.Digest(all[layout.RevisionLink(repo, d)]))])
		m, err := types.Parse(content)
		if err != nil {
			t.Fatal(err)
		}
		if m.MediaType != orasArtifact.MediaType {
			checkGet(t, server.URL+"/v2/"+repo+"/manifests/"+text, d)
		}
		if m.MediaType == v1.MediaTypeImageIndex || m.MediaType == manifest.MediaTypeDockerList {
			continue
		}
		for _, blob := range m.References {
			checkGet(t, server.URL+"/v2/"+repo+"/blobs/"+blob.Digest.String(), blob.Digest)
		}
	}
}

func checkGet(t *testing.T, url string, d digest.Digest) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, mediaType := range []string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, manifest.MediaTypeDockerList} {
		request.Header.Add("Accept", mediaType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || d.Algorithm().FromBytes(body) != d {
		t.Errorf("GET %s: %s, %v", url, response.Status, err)
	}
}
