package gc

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
)

// survivors returns the names of the manifests in a tree, in order. It checks that each
// can be pulled, and that nothing is left that none of them needs.
func (t *tree) survivors() string {
	t.Helper()
	all := files(t, t.driver)
	var names []string
	needed := map[string]bool{}
	for _, revision := range revisions(all) {
		name, ok := t.names[revision]
		if !ok {
			t.Errorf("there is an unknown manifest %s", revision)
		}
		repo, d, _ := strings.Cut(revision, "@")
		if repo == "r" {
			names = append(names, name)
		} else {
			names = append(names, repo+"/"+name)
		}
		if err := pull(all, repo, digest.Digest(d), needed); err != nil {
			t.Errorf("%s cannot be pulled: %v", name, err)
		}
	}
	for file := range all {
		if strings.Contains(file, "/_layers/") || strings.HasPrefix(file, layout.Blobs) {
			if !needed[file] {
				t.Errorf("%s is left over", file)
			}
		}
	}
	t.checkIndex(all)
	t.checkFolders()
	slices.Sort(names)
	return strings.Join(names, " ")
}

// pull follows what a manifest needs through the files of a tree, and records them.
func pull(all map[string]string, repo string, d digest.Digest, needed map[string]bool) error {
	content, err := follow(all, layout.RevisionLink(repo, d), d, needed)
	if err != nil {
		return fmt.Errorf("manifest %s in %s: %w", d, repo, err)
	}
	var m struct {
		Config                   *v1.Descriptor
		Layers, Blobs, Manifests []v1.Descriptor
	}
	if err := json.Unmarshal([]byte(content), &m); err != nil {
		return err
	}
	for _, child := range m.Manifests {
		if all[layout.RevisionLink(repo, child.Digest)] == "" {
			needed[layout.BlobData(child.Digest)] = true // deleted through the API
			continue
		}
		if err := pull(all, repo, child.Digest, needed); err != nil {
			return fmt.Errorf("in index %s: %w", d, err)
		}
	}
	blobs := slices.Concat(m.Layers, m.Blobs)
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	for _, blob := range blobs {
		link := layout.LayerLink(repo, blob.Digest)
		if _, err := follow(all, link, blob.Digest, needed); err != nil {
			return fmt.Errorf("in %s: blob %s in %s: %w", d, blob.Digest, repo, err)
		}
		stored := layout.LayerLink(repo, digest.Digest(all[link]))
		if all[stored] == "" {
			return fmt.Errorf("in %s: blob %s in %s: %s is missing", d, blob.Digest, repo, stored)
		}
		needed[stored] = true
	}
	return nil
}

// follow returns the bytes that the link of a digest leads to, and records what is
// needed for it.
func follow(all map[string]string, link string, d digest.Digest, needed map[string]bool) (string, error) {
	stored := digest.Digest(all[link])
	if stored.Validate() != nil {
		return "", fmt.Errorf("its link contains %q", all[link])
	}
	content := all[layout.BlobData(stored)]
	if d.Algorithm().FromString(content) != d {
		return "", fmt.Errorf("it has no bytes under %s", stored)
	}
	needed[link], needed[layout.BlobData(stored)] = true, true
	return content, nil
}

// checkIndex checks that every link of the index leads to a manifest, that every derived
// file is about a subject with referrers, and that no tag history names a manifest that
// is gone.
func (t *tree) checkIndex(all map[string]string) {
	t.Helper()
	for file := range all {
		rest := strings.TrimPrefix(file, layout.Repositories+"/")
		repo, inside, _ := strings.Cut(rest, "/_")
		switch {
		case strings.HasPrefix(inside, "refs/subjects/"):
			subject, referrer, ok := layout.ParseReferrer(repo, file)
			if !ok || all[layout.RevisionLink(repo, referrer)] == "" {
				t.Errorf("the link from %s to %s in %s leads nowhere", referrer, subject, repo)
			}
		case strings.HasPrefix(inside, "refs/derived/subjects/"):
			subject := digest.NewDigestFromEncoded(digest.Algorithm(path.Base(path.Dir(file))), path.Base(file))
			if !slices.ContainsFunc(keys(all), func(link string) bool {
				return strings.HasPrefix(link, layout.Subject(repo, subject)+"/")
			}) {
				t.Errorf("%s is about a subject without referrers", file)
			}
		case strings.HasPrefix(inside, "manifests/tags/") && strings.Contains(inside, "/index/"):
			d := digest.Digest(all[file])
			if all[layout.RevisionLink(repo, d)] == "" {
				t.Errorf("%s remembers a manifest that is gone", file)
			}
		}
	}
}

// checkFolders checks that the index has no empty folders.
func (t *tree) checkFolders() {
	t.Helper()
	ctx := context.Background()
	_ = t.driver.Walk(ctx, layout.Repositories, func(info storagedriver.FileInfo) error {
		if info.IsDir() && strings.Contains(info.Path(), "/_refs") {
			if below, err := t.driver.List(ctx, info.Path()); err == nil && len(below) == 0 {
				t.Errorf("the folder %s is empty", info.Path())
			}
		}
		return nil
	})
}
