package browse

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of lists of images, and of configurations of images.
const (
	typeDockerList   = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerConfig = "application/vnd.docker.container.image.v1+json"
)

// document is a manifest of any type.
type document struct {
	Digest digest.Digest `json:"-"`
	Size   int64         `json:"-"` // of the manifest itself

	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Blobs        []v1.Descriptor   `json:"blobs"` // the layers of ORAS artifact manifests
	Manifests    []v1.Descriptor   `json:"manifests"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// parseDocument reads a stored manifest. A member that is not as it should be counts as
// absent: what is stored can be shown nevertheless.
func parseDocument(mediaType string, content []byte) *document {
	m := new(document)
	_ = json.Unmarshal(content, m)
	m.MediaType, m.Size = cmp.Or(mediaType, m.MediaType), int64(len(content))
	m.Layers = append(m.Layers, m.Blobs...)
	return m
}

// isIndex reports whether the manifest is a list of others.
func (m *document) isIndex() bool {
	return m.MediaType == v1.MediaTypeImageIndex || m.MediaType == typeDockerList
}

// isImage reports whether it can be run.
func (m *document) isImage() bool {
	return m.ArtifactType == "" && m.Config != nil && isConfiguration(m.Config.MediaType)
}

// kind is the type that says what the manifest is about.
func (m *document) kind() string {
	switch {
	case m.ArtifactType != "":
		return m.ArtifactType
	case m.Config != nil:
		return m.Config.MediaType
	}
	return m.MediaType
}

// created is the time in the annotations, or zero.
func (m *document) created() time.Time {
	for _, name := range []string{v1.AnnotationCreated, "io.cncf.oras.artifact.created"} {
		if t := parseTime(m.Annotations[name]); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// total is the size of what the manifest needs, each blob counted once. seen is what has
// been counted before.
func (m *document) total(seen map[digest.Digest]bool) (size int64) {
	all := m.Layers
	if m.Config != nil {
		all = append(all[:len(all):len(all)], *m.Config)
	}
	for _, d := range all {
		if !seen[d.Digest] && d.Size > 0 {
			seen[d.Digest] = true
			size += d.Size
		}
	}
	return size
}

func isConfiguration(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == typeDockerConfig
}

// configuration is the configuration of an image. Times are text, for one that is none
// must not hide the rest.
type configuration struct {
	Created      string `json:"created"`
	Author       string `json:"author"`
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant"`
	Config       struct {
		User         string              `json:"User"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Env          []string            `json:"Env"`
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		Volumes      map[string]struct{} `json:"Volumes"`
		WorkingDir   string              `json:"WorkingDir"`
		Labels       map[string]string   `json:"Labels"`
		StopSignal   string              `json:"StopSignal"`
	} `json:"config"`
	History []struct {
		Created    string `json:"created"`
		CreatedBy  string `json:"created_by"`
		Comment    string `json:"comment"`
		EmptyLayer bool   `json:"empty_layer"`
	} `json:"history"`
}

// formError says what is wrong with content that was read.
type formError struct{ error }

// Unwrap is for errors.As.
func (e *formError) Unwrap() error { return e.error }

func parseConfiguration(content []byte) (*configuration, error) {
	c := new(configuration)
	err := json.Unmarshal(content, c)
	if err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
		return nil, &formError{fmt.Errorf("it is not JSON: %w", err)}
	}
	return c, nil
}

// platform is the platform in a configuration.
func (c *configuration) platform() string { return platformName(c.OS, c.Architecture, c.Variant) }

// platformOf is the platform in a descriptor, empty if it has none.
func platformOf(d v1.Descriptor) string {
	if d.Platform == nil || d.Platform.OS == "unknown" {
		return ""
	}
	return platformName(d.Platform.OS, d.Platform.Architecture, d.Platform.Variant)
}

func platformName(system, architecture, variant string) string {
	return strings.Trim(path.Join(clip(system, maxName), clip(architecture, maxName), clip(variant, maxName)), "/.")
}

func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
