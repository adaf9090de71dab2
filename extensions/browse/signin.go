package browse

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
)

// The paths of the form, below the first page.
const (
	pathSignIn  = "sign-in"
	pathSignOut = "sign-out"
)

// maxForm is the size of the largest form that is read, in bytes.
const maxForm = 16 << 10

// signInRoutes are the routes of the form. There is none where browsers ask for passwords
// themselves.
func (s *site) signInRoutes() []extensions.Route {
	post := []string{http.MethodPost}
	return []extensions.Route{
		{Name: "ui_sign_in", Path: root + pathSignIn, Access: extensions.AccessAnyone, Serve: s.page(showSignIn)},
		{Name: "ui_sign_in_post", Path: root + pathSignIn, Methods: post, Access: extensions.AccessAnyone, Serve: s.signIn},
		{Name: "ui_sign_out", Path: root + pathSignOut, Methods: post, Access: extensions.AccessAnyone, Serve: s.signOut},
	}
}

// signInForm is what the page with the form shows.
type signInForm struct {
	Action  string
	To      string // where to go afterwards
	Name    string // of the repository there
	User    string
	Problem string
	Server  string // that is asked for the token
}

// signInPath is the path of the form that leads to another page.
func (s *site) signInPath(to string) string {
	return s.path(pathSignIn) + "?" + url.Values{"to": {to}}.Encode()
}

func showSignIn(v *view) (*page, error) {
	p := v.signInPage(v.request, v.request.URL.Query().Get("to"), "")
	p.Trail = []step{{"Repositories", v.path("")}, {p.Title, ""}}
	return p, nil
}

// signInPage is the page with the form.
func (s *site) signInPage(r *http.Request, to, problem string) *page {
	to = s.local(to)
	form := &signInForm{Action: s.path(pathSignIn), To: to, Name: s.repositoryOf(to), Problem: problem}
	if realm, err := url.Parse(s.Token.Realm); err == nil {
		form.Server = realm.Host
	}
	form.User = clip(r.PostForm.Get("user"), maxName)
	if session := sessionOf(r.Context()); session != nil && problem == "" {
		form.User = cmp.Or(form.User, session.User)
		if form.Name != "" {
			form.Problem = "You are signed in, but not for this repository: either it is not for you, or the token was asked for before you came here."
		}
	}
	return &page{Template: "signin", Title: "Sign in", Data: form}
}

// local is a path of ours that a form leads to, or else the first page.
func (s *site) local(to string) string {
	target, err := url.Parse(to)
	if err != nil || target.Scheme != "" || target.Host != "" || !strings.HasPrefix(target.Path, s.path("")) || strings.Contains(target.Path, "/..") ||
		strings.HasPrefix(target.Path, s.path(pathSignIn)) || strings.HasPrefix(target.Path, s.path(pathSignOut)) {
		return s.path("")
	}
	return (&url.URL{Path: target.Path, RawPath: target.RawPath, RawQuery: target.RawQuery}).String()
}

// repositoryOf is the repository that a page is about, or empty.
func (s *site) repositoryOf(to string) string {
	target, err := url.Parse(to)
	if err != nil {
		return ""
	}
	kind, name, _ := strings.Cut(strings.TrimPrefix(target.Path, s.path("")), "/")
	if slash := strings.LastIndexByte(name, '/'); kind != "tags" && slash >= 0 {
		name = name[:slash]
	}
	if _, err := reference.WithName(name); err != nil {
		return ""
	}
	return name
}

// foreign refuses what the browser was made to send by another site.
func foreign(r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return errcode.ErrorCodeDenied.WithMessage("the form was sent from another site")
	}
	return nil
}

// signIn takes the form, fetches a token and keeps it in a cookie.
func (s *site) signIn(w http.ResponseWriter, r *http.Request, _ extensions.Target) error {
	if err := foreign(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return errcode.ErrorCodeDenied.WithMessage("the form cannot be read")
	}
	to := s.local(r.PostForm.Get("to"))
	user, password := r.PostForm.Get("user"), r.PostForm.Get("password")
	if r.PostForm.Has("anonymous") {
		user, password = "", ""
	}
	value, expires, err := s.fetchSession(r, user, password, s.repositoryOf(to))
	if err == nil {
		s.setCookie(w, r, value, expires)
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	problem, status := "The server that issues tokens cannot be asked at the moment. Try again, or tell those who run the registry.", http.StatusBadGateway
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		problem, status = "The user name or the password is not right.", http.StatusUnauthorized
	case errors.Is(err, errCookieSize):
		problem = "The token that was issued is too large for a cookie. Use the API of the registry."
	default:
		logrus.Errorf("fetching a token from %s: %v", s.Token.Realm, err)
	}
	p := s.signInPage(r, to, problem)
	p.Status, p.Trail = status, []step{{"Repositories", s.path("")}, {p.Title, ""}}
	return s.write(w, r, p)
}

// signOut takes the cookie away.
func (s *site) signOut(w http.ResponseWriter, r *http.Request, _ extensions.Target) error {
	if err := foreign(r); err != nil {
		return err
	}
	s.setCookie(w, r, "", time.Unix(0, 0))
	http.Redirect(w, r, s.path(""), http.StatusSeeOther)
	return nil
}

// fetchSession is the value of the cookie of somebody who signs in to see a repository. The
// token is also for the repositories at the beginning of the list, so that it shows those
// that the user may pull from. They are read only for those who have a right password.
func (s *site) fetchSession(r *http.Request, user, password, repository string) (value string, expires time.Time, err error) {
	var names []string
	if repository != "" {
		names = []string{repository}
	}
	found, err := s.fetchToken(r.Context(), user, password, names)
	if err != nil {
		return "", time.Time{}, err
	}
	listed := make([]string, repositoriesPerPage)
	n, _ := s.Namespace.Repositories(r.Context(), listed, "") // without them, the list is shorter
	if n > 0 {
		more, err := s.fetchToken(r.Context(), user, password, append(names, listed[:n]...))
		if err == nil {
			if value, err := s.vault.seal(more); err == nil {
				return value, more.Expires, nil
			}
		}
	}
	value, err = s.vault.seal(found)
	return value, found.Expires, err
}
