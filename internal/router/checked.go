package router

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/listing"
	"github.com/oras-distribution/registry/internal/push"
)

// Checked refuses requests to distribution's own routes that an extension refuses, or that
// distribution answers with 500: as a failure of the registry, and not of the client.
// It is where such requests get their codes. As with every other route, nothing is said to
// those who may not ask.
func Checked(next http.Handler, options Options) http.Handler {
	options.Prefix = strings.TrimRight(options.Prefix, "/")
	p := &path{options: options, next: next}
	measured := p.measure("refused")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, problem := checkRequest(options.Prefix, r)
		if problem == nil && target.Repository != nil {
			problem = push.Refused(r.Context())
		}
		if problem == nil {
			next.ServeHTTP(w, r)
			return
		}
		access := accessFor(r)
		p.surround(measured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.setHeaders(w)
			if target.Repository == nil && access != extensions.AccessCatalog || p.authorized(w, r, target, access) {
				writeError(w, r, problem)
			}
		}))).ServeHTTP(w, r)
	})
}

const catalogPath = "/v2/_catalog"

// The paths of distribution's other routes, and what the texts in them must be.
var (
	stockPath    = regexp.MustCompile(`(?s)^/v2/(.+)/(manifests/[^/]+|blobs/[^/]+|blobs/uploads/[^/]*|tags/list)$`)
	uploadID     = regexp.MustCompile(`^[0-9a-f-]{36}$`)
	contentRange = regexp.MustCompile(`^[0-9]{1,18}-[0-9]{1,18}$`)
	tag          = regexp.MustCompile(`^` + reference.TagRegexp.String() + `$`)
)

// checkRequest finds what is wrong with a request to one of distribution's routes.
func checkRequest(prefix string, r *http.Request) (target extensions.Target, problem error) {
	below, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok {
		return target, nil
	}
	if below == catalogPath {
		return target, checkCatalog(r)
	}
	parts := stockPath.FindStringSubmatch(below)
	if parts == nil {
		return target, nil
	}
	name, rest := parts[1], parts[2]
	if target.Repository, problem = parseName(name); problem != nil {
		if len(name) <= reference.RepositoryNameTotalLengthMax && !reference.NameRegexp.MatchString(name) {
			problem = nil // which distribution knows
		}
		return target, problem
	}
	switch upload, ok := strings.CutPrefix(rest, "blobs/uploads/"); {
	case ok && upload == "":
		problem = checkPost(r)
	case ok:
		problem = checkUpload(r, upload)
	case rest == "tags/list":
		problem = checkTags(r)
	}
	return target, problem
}

// parseName takes a repository's name. The parser takes those with a host and its port,
// too, for which there are no paths in the storage.
func parseName(name string) (reference.Named, error) {
	named, err := reference.WithName(name)
	if err == nil && strings.ContainsAny(name, ":[]") {
		err = reference.ErrNameNotCanonical
	}
	if err != nil {
		return nil, errcode.ErrorCodeNameInvalid.WithDetail(distribution.ErrRepositoryNameInvalid{Name: name, Reason: err})
	}
	return named, nil
}

// checkPost checks a request for a new upload.
func checkPost(r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil {
		if !query.Has("digest") || query.Has("mount") {
			return nil
		}
		_, err = digest.Parse(query.Get("digest"))
	}
	if err != nil {
		return errcode.ErrorCodeDigestInvalid.WithDetail(err.Error())
	}
	return nil
}

// checkUpload checks a request to an upload.
func checkUpload(r *http.Request, id string) error {
	if !uploadID.MatchString(id) {
		return errcode.ErrorCodeBlobUploadUnknown.WithDetail(distribution.ErrBlobUploadUnknown.Error())
	}
	if r.Method != http.MethodPatch && r.Method != http.MethodPut {
		return nil
	}
	if header := r.Header.Get("Content-Range"); header != "" && !contentRange.MatchString(header) {
		return errcode.ErrorCodeRangeInvalid.WithDetail("Content-Range must have the form FIRST-LAST")
	}
	if mediaType := r.Header.Get("Content-Type"); r.Method == http.MethodPatch && mediaType != "" && mediaType != "application/octet-stream" {
		return listing.StatusError{
			Status: http.StatusUnsupportedMediaType,
			Cause:  errcode.ErrorCodeBlobUploadInvalid.WithDetail("Content-Type must be application/octet-stream"),
		}
	}
	return nil
}

// checkTags checks a request for a list of tags. Where it begins becomes part of a path.
func checkTags(r *http.Request) error {
	if last := r.URL.Query().Get("last"); last != "" && !tag.MatchString(last) {
		return errcode.ErrorCodeTagInvalid.WithDetail(map[string]string{"last": last})
	}
	return nil
}

// checkCatalog checks a request for a list of repositories, as checkTags does.
func checkCatalog(r *http.Request) error {
	last := r.URL.Query().Get("last")
	if last == "" {
		return nil
	}
	_, err := parseName(last)
	return err
}

// accessFor is the access that distribution asks for.
func accessFor(r *http.Request) extensions.Access {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return extensions.AccessPush
	case http.MethodDelete:
		return extensions.AccessDelete
	}
	if strings.HasSuffix(r.URL.Path, catalogPath) {
		return extensions.AccessCatalog
	}
	return extensions.AccessPull
}
