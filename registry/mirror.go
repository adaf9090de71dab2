package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/config"
	"github.com/oras-distribution/registry/internal/progress"
	"github.com/oras-distribution/registry/internal/pull"
)

func newMirrorCommand(list []extensions.Extension) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mirror",
		Short: "Fill a mirror of other registries",
		Args:  cobra.ArbitraryArgs,
		RunE:  subcommandRequired,
	}
	cmd.AddCommand(newMirrorCopyCommand(list))
	return cmd
}

func newMirrorCopyCommand(list []extensions.Extension) *cobra.Command {
	format := "text"
	cmd := &cobra.Command{
		Use:   "copy CONFIG IMAGE…",
		Short: "Get images from their upstream registries before clients ask for them",
		Long: "Get images, with all of their platforms and all that is attached to them, through the mirror of the\n" +
			"configuration, as if clients had pulled them. IMAGE is the name of a repository here, and a tag or digest:\n" +
			"docker.io/library/nginx:1.29. The command may run while registries are serving, and may be repeated: what\n" +
			"is there is not asked for again.",
		Args: arguments("CONFIG", "IMAGE", "[IMAGE…]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("--format: must be text or json, not %q", format)
			}
			return runMirrorCopy(cmd.Context(), mirrorCopy{cmd.OutOrStdout(), cmd.ErrOrStderr(), format}, args[0], args[1:], list)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "format of the result: text or json")
	return cmd
}

// mirrorCopy is where a run of the command writes to.
type mirrorCopy struct {
	out, progressOut io.Writer
	format           string
}

// image is one that is to be copied.
type image struct {
	text        string
	name        reference.Named
	tagOrDigest string
}

func runMirrorCopy(ctx context.Context, c mirrorCopy, path string, texts []string, list []extensions.Extension) (err error) {
	images := make([]image, len(texts))
	for i, text := range texts {
		if images[i], err = parseImage(text); err != nil {
			return err
		}
	}
	loaded, err := config.Load([]string{path})
	if err != nil {
		return err
	}
	if loaded.ReadOnly() || loaded.IsProxy() {
		return fmt.Errorf("configuration %s: this registry stores nothing that its mirror gets", path)
	}
	logrus.SetLevel(logrus.FatalLevel) // what fails is returned
	loaded.Stock.Log.AccessLog.Disabled = true
	withDefaults(loaded)
	r, err := newWith(ctx, loaded, background{}, list)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	logrus.SetLevel(logrus.FatalLevel)
	defer func() { err = errors.Join(err, r.Shutdown(context.WithoutCancel(ctx))) }()
	return c.copy(ctx, r.instance, images)
}

// copy copies one image after the other.
func (c mirrorCopy) copy(ctx context.Context, i *instance, images []image) error {
	shown := progress.New(c.progressOut, "copying")
	defer shown.Done()
	puller := &pull.Puller{Namespace: i.content.Namespace, Referrers: i.content.Referrers, Types: i.extensions.types, Progress: shown}
	for _, image := range images {
		summary, err := puller.Pull(ctx, image.name, image.tagOrDigest)
		if err == nil {
			err = c.show(image, summary)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", image.text, err)
		}
	}
	return nil
}

// show shows what was copied of an image.
func (c mirrorCopy) show(image image, s pull.Summary) error {
	if c.format == "json" {
		return json.NewEncoder(c.out).Encode(struct {
			Image string `json:"image"`
			pull.Summary
		}{image.text, s})
	}
	_, err := fmt.Fprintf(c.out, "%s %s: %s, of which %d attached, and %s of %s\n", image.text, s.Digest,
		progress.Count(s.Manifests, "manifests"), s.Referrers, progress.Count(s.Blobs, "blobs"), humanize.IBytes(uint64(s.Bytes)))
	return err
}

// parseImage takes the name of a repository of this registry, and a tag or digest.
func parseImage(text string) (image, error) {
	name, tagOrDigest, ok := strings.Cut(text, "@")
	if ok {
		if err := digest.Digest(tagOrDigest).Validate(); err != nil {
			return image{}, fmt.Errorf("%s: %w", text, err)
		}
	} else if i := strings.LastIndex(text, ":"); i > strings.LastIndex(text, "/") {
		name, tagOrDigest = text[:i], text[i+1:]
	} else {
		return image{}, fmt.Errorf("%s: a tag or digest is missing, as in %s:latest", text, text)
	}
	named, err := reference.WithName(name)
	if err == nil && !ok {
		_, err = reference.WithTag(named, tagOrDigest)
	}
	if err != nil {
		return image{}, fmt.Errorf("%s: %w", text, err)
	}
	return image{text, named, tagOrDigest}, nil
}
