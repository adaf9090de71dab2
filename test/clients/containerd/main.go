// Command containerd pulls an image as containerd does, with its library: through the
// hosts that a hosts.toml names, with all platforms and all that is attached to any of the
// manifests. It is for tests only.
//
//	containerd HOSTS REFERENCE
//
// HOSTS is what containerd calls config_path: the folder with a folder for each registry. A
// line for each descriptor goes to the standard output, and one for each answer of a registry
// to the standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "containerd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("arguments %q: expected HOSTS REFERENCE", args)
	}
	if err := log.SetLevel("error"); err != nil { // it warns of each type that is not of an image
		return err
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, config.HostOptions{
		HostDir: config.HostDirFromRoot(args[0]),
		UpdateClient: func(client *http.Client) error {
			client.Transport = tracing{client.Transport}
			return nil
		},
	})})
	name, image, err := resolver.Resolve(ctx, args[1])
	if err != nil {
		return err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "containerd")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	store, err := local.NewStore(folder)
	if err != nil {
		return err
	}
	return images.Walk(ctx, images.Handlers(
		images.HandlerFunc(printed),
		remotes.FetchHandler(store, fetcher), // compares sizes and digests
		images.ChildrenHandler(store),
		images.HandlerFunc(referrers(fetcher)),
	), image)
}

func printed(_ context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	_, err := fmt.Fprintln(os.Stdout, desc.Digest, desc.MediaType, desc.Size, desc.ArtifactType)
	return nil, err
}

// referrers lists what is attached to a manifest.
func referrers(fetcher remotes.Fetcher) func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType) {
			return nil, nil
		}
		lister, ok := fetcher.(remotes.ReferrersFetcher)
		if !ok {
			return nil, errors.New("the library does not list referrers")
		}
		return lister.FetchReferrers(ctx, desc.Digest)
	}
}

// tracing prints what is answered, and for which registry the one that answers stands.
type tracing struct{ http.RoundTripper }

func (t tracing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		fmt.Fprintln(os.Stderr, resp.StatusCode, req.Method, req.URL, "OCI-Namespace:"+resp.Header.Get("OCI-Namespace"))
	}
	return resp, err
}
