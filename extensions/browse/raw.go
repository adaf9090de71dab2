package browse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/extensions"
)

// maxRaw is how much of a manifest its page shows, in bytes.
const maxRaw = 256 << 10

// manifestPage is what the page with the bytes of a manifest shows.
type manifestPage struct {
	Name      string
	Reference string
	Digest    digest.Digest
	MediaType string
	Size      int64
	Text      string
	Shown     int64 // how many bytes of the text are shown, if not all are
}

// showManifest shows a manifest as it is, indented.
func showManifest(v *view) (*page, error) {
	d, tag, err := v.resolve(v.target.Reference)
	if err != nil {
		return nil, err
	}
	shown := &manifestPage{Name: v.name(), Reference: v.target.Reference, Digest: d}
	v.take(costOfManifest)
	err = v.payload(d, func(mediaType string, content []byte) error {
		shown.MediaType, shown.Size = mediaType, int64(len(content))
		var indented bytes.Buffer
		if len(content) <= maxRaw && json.Indent(&indented, content, "", "  ") == nil && indented.Len() <= 2*maxRaw {
			content = indented.Bytes()
		} else if len(content) > maxRaw {
			content, shown.Shown = content[:maxRaw], maxRaw
		}
		shown.Text = visible(string(content))
		return nil
	})
	if err != nil {
		return nil, err
	}
	last := tag
	if last == "" {
		last = short(d)
	}
	trail := []step{
		{"Repositories", v.path("")},
		{v.name(), v.path("tags/" + v.name())},
		{last, v.path("image/" + v.name() + "/" + v.target.Reference)},
		{"Manifest", ""},
	}
	return &page{Template: "manifest", Title: "Manifest of " + v.name(), Trail: trail, Data: shown}, nil
}

// serveManifest sends the bytes of a manifest as a file.
func (s *site) serveManifest(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
	v, err := s.newView(r.Context(), r, target)
	if err != nil {
		return err
	}
	d, _, err := v.resolve(target.Reference)
	if err != nil {
		return explain(err)
	}
	return explain(v.payload(d, func(_ string, content []byte) error {
		asFile(w, "manifest-"+d.Encoded()[:12]+".json", int64(len(content)))
		_, err := w.Write(content)
		return ignored(err)
	}))
}

// serveFile sends a layer of a manifest as a file: the only one, or the one that the query
// names by its position. Browsers must not take it for a page of ours.
func (s *site) serveFile(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
	v, err := s.newView(r.Context(), r, target)
	if err != nil {
		return err
	}
	d, _, err := v.resolve(target.Reference)
	if err != nil {
		return explain(err)
	}
	m, err := v.manifest(d)
	if err != nil {
		return explain(err)
	}
	position := r.URL.Query().Get("layer")
	if position == "" && len(m.Layers) != 1 { // the page of the manifest has them all
		http.Redirect(w, r, v.path("image/"+v.name()+"/"+d.String()), http.StatusSeeOther)
		return nil
	}
	layer, ok := m.layer(position)
	if !ok {
		return errcode.ErrorCodeBlobUnknown.WithDetail(map[string]string{"layer": clip(position, maxName)})
	}
	content, err := v.content.Blobs(v.ctx).Open(v.ctx, layer.Digest)
	if err != nil {
		return explain(err)
	}
	defer content.Close()
	size, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	asFile(w, fileName(m, layer), size)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(w, content)
	if err != nil {
		panic(http.ErrAbortHandler) // so that nobody takes the part for the whole
	}
	return nil
}

// layer is the layer at a position, the first one if it is empty.
func (m *document) layer(position string) (v1.Descriptor, bool) {
	at := 0
	if position != "" {
		if _, err := fmt.Sscanf(position, "%d", &at); err != nil {
			return v1.Descriptor{}, false
		}
	}
	if at < 0 || at >= len(m.Layers) || !isDigest(m.Layers[at].Digest) {
		return v1.Descriptor{}, false
	}
	return m.Layers[at], true
}

// asFile sets the headers of a file that a browser stores and never shows.
func asFile(w http.ResponseWriter, name string, size int64) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	w.Header().Set("Content-Length", fmt.Sprint(size))
	w.Header().Set("Cache-Control", "no-store")
}

var unsafeInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// maxFileName is the length of the longest name that a file is offered by.
const maxFileName = 100

// fileName is the name that a file is offered by: its title, if it has one, as a name that
// is harmless in any folder.
func fileName(m *document, layer v1.Descriptor) string {
	name := unsafeInNames.ReplaceAllString(path.Base(layer.Annotations[v1.AnnotationTitle]), "_")
	if name = strings.Trim(name, "._-"); name != "" {
		return name[:min(len(name), maxFileName)]
	}
	kind := classify(m.kind(), m.Annotations).Kind
	ending := ".bin"
	if strings.Contains(layer.MediaType, "json") {
		ending = ".json"
	}
	return kind + "-" + layer.Digest.Encoded()[:12] + ending
}
