package browse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
)

//go:embed templates style.css icon.svg
var files embed.FS

// pageTime is how long the reading for one page may take.
const pageTime = 10 * time.Second

// readsAtOnce is how many manifests and configurations all pages together have in memory
// at once; each may be of 4 MiB.
const readsAtOnce = 16

// site is the pages of one registry.
type site struct {
	extensions.Services
	templates map[string]*template.Template
	reads     chan struct{}
	facts     *factCache
	vault     *vault
	tokens    *http.Client
	style     string // the path of the stylesheet, which changes with its content
}

func newSite(services extensions.Services) *site {
	s := &site{Services: services, reads: make(chan struct{}, readsAtOnce), facts: newFactCache()}
	if s.Token != nil {
		s.vault, s.tokens = newVault(s.Key), newTokenClient()
	}
	s.style = s.path("style.css") + "?v=" + fingerprint("style.css")
	layout := template.Must(template.New("layout.html").Funcs(s.functions()).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	s.templates = map[string]*template.Template{}
	for _, name := range []string{"repositories", "tags", "image", "manifest", "error", "signin"} {
		s.templates[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, "templates/"+name+".html"))
	}
	return s
}

// functions are what the templates call.
func (s *site) functions() template.FuncMap {
	return template.FuncMap{
		"home":  func() string { return s.path("") },
		"style": func() string { return s.style },
		"icon":  func() string { return s.path("icon.svg") },
		"tags":  func(name string) string { return s.path("tags/" + name) },
		"image": func(name, reference string) string { return s.path("image/" + name + "/" + url.PathEscape(reference)) },
		"manifest": func(name, reference string) string {
			return s.path("manifest/" + name + "/" + url.PathEscape(reference))
		},
		"raw":     func(name, reference string) string { return s.path("raw/" + name + "/" + url.PathEscape(reference)) },
		"file":    func(name, reference string) string { return s.path("file/" + name + "/" + url.PathEscape(reference)) },
		"signout": func() string { return s.path("sign-out") },
		"short":   short,
		"bytes":   formatSize,
		"count":   formatCount,
		"date":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") },
		"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
}

// path is the path of a page.
func (s *site) path(below string) string { return s.Prefix + root + below }

// page is what a template is filled with.
type page struct {
	Template string
	Status   int // 0: OK
	Host     string
	Title    string
	Trail    []step // the way to the page
	User     string // who is signed in with the form, if somebody is
	SignedIn bool   // with the form
	Data     any
}

// step is one step of the way to a page. The last has no path.
type step struct{ Name, Path string }

// page makes what serves a page.
func (s *site) page(show func(*view) (*page, error)) func(http.ResponseWriter, *http.Request, extensions.Target) error {
	return func(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
		ctx, cancel := context.WithTimeout(r.Context(), pageTime)
		defer cancel()
		v, err := s.newView(ctx, r, target)
		if err != nil {
			return err
		}
		p, err := show(v)
		if err != nil && ctx.Err() != nil && r.Context().Err() == nil {
			return errcode.ErrorCodeUnavailable.WithDetail("the storage has not answered in time")
		}
		if err != nil {
			return explain(err)
		}
		return s.write(w, r, p)
	}
}

// write writes a page.
func (s *site) write(w http.ResponseWriter, r *http.Request, p *page) error {
	p.Host = r.Host
	if session := sessionOf(r.Context()); session != nil {
		p.SignedIn, p.User = true, session.User
	}
	var text bytes.Buffer
	if err := s.templates[p.Template].ExecuteTemplate(&text, "layout.html", p); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if p.Status != 0 {
		w.WriteHeader(p.Status)
	}
	_, err := w.Write(text.Bytes())
	return ignored(err)
}

// ignored is for errors after which nobody is there to read an answer.
func ignored(error) error { return nil }

// serveAsset serves an embedded file, which everybody may have.
func serveAsset(name, contentType string) func(http.ResponseWriter, *http.Request, extensions.Target) error {
	return func(w http.ResponseWriter, r *http.Request, _ extensions.Target) error {
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=86400")
		w.Header().Set("ETag", `"`+fingerprint(name)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		return nil
	}
}

// fingerprint tells versions of an embedded file apart.
func fingerprint(name string) string {
	content, _ := files.ReadFile(name)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:6])
}

// short is a digest as people tell them apart.
func short(d digest.Digest) string {
	algorithm, hex, ok := strings.Cut(d.String(), ":")
	if !ok || len(hex) < 12 {
		return d.String()
	}
	return algorithm + ":" + hex[:12]
}
