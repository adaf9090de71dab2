package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/oras-distribution/registry/internal/config"
)

// remoteTime is how long a registry may take for one answer.
const remoteTime = 30 * time.Second

// The bounds of asking a running registry: of one answer, in bytes, and of the pages of its
// list of repositories.
const (
	maxRemoteAnswer = 4 << 20
	maxRemotePages  = 100
)

// remoteStatus is what a running registry says.
type remoteStatus struct {
	URL string `json:"url"`
	// Access is the challenge of a registry that wants credentials, or empty.
	Access string `json:"access,omitempty"`
	// Extensions are the names that the extension discovery lists.
	Extensions []string `json:"extensions,omitempty"`
	// Repositories is how many the catalog lists, nil if it lists none to this client.
	Repositories *int `json:"repositories,omitempty"`
	// More says that there are more repositories.
	More bool `json:"moreRepositories,omitempty"`

	base   *url.URL // without credentials, so that errors do not tell them
	client interface {
		Do(request *http.Request) (*http.Response, error)
	}
}

// signIn makes a client that answers the challenges of a registry with the credentials of a
// user, and reports whether there are any. The client follows no redirects, so that a password
// goes nowhere but to the registry, or to the realm that it names.
func (s *remoteStatus) signIn(user *url.Userinfo) (given bool) {
	client := &http.Client{
		Timeout:       remoteTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	password, _ := user.Password()
	if user.Username() == "" && password == "" {
		s.client = client
		return false
	}
	s.client = &auth.Client{Client: client, Cache: auth.NewCache(), Credential: func(context.Context, string) (auth.Credential, error) {
		return auth.Credential{Username: user.Username(), Password: password}, nil
	}}
	return true
}

// remoteStatusOf asks a running registry over HTTP.
func remoteStatusOf(ctx context.Context, address string) (*remoteStatus, error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("%q is not a URL such as https://registry.example", config.RedactText(address, false))
	}
	base.Path, base.RawQuery, base.Fragment = strings.TrimRight(base.Path, "/"), "", ""
	s := &remoteStatus{URL: base.Redacted(), base: base}
	given := s.signIn(base.User)
	base.User = nil
	answer, err := s.get(ctx, "/v2/", nil)
	if err != nil {
		return nil, err
	}
	switch {
	case answer.status == http.StatusOK:
	case given && isRefusal(answer.status):
		return nil, s.refused(answer)
	case answer.status == http.StatusUnauthorized:
		s.Access = cmp.Or(answer.header.Get("WWW-Authenticate"), "the registry does not say which")
		return s, nil
	default:
		return nil, fmt.Errorf("%s/v2/ answers %d %s: there is no registry", s.URL, answer.status, http.StatusText(answer.status))
	}
	var discovered struct {
		Extensions []struct {
			Name string `json:"name"`
		} `json:"extensions"`
	}
	if _, err = s.get(ctx, "/v2/_oci/ext/discover", &discovered); err != nil {
		return nil, err
	}
	for _, e := range discovered.Extensions {
		s.Extensions = append(s.Extensions, e.Name)
	}
	return s, s.count(ctx)
}

func isRefusal(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// refused is the error for an answer that does not accept the credentials.
func (s *remoteStatus) refused(answer remoteAnswer) error {
	challenge := answer.header.Get("WWW-Authenticate")
	scheme, _, _ := strings.Cut(challenge, " ")
	switch {
	case answer.realm != nil:
		return fmt.Errorf("%s: the credentials are refused: %w", s.URL, answer.realm)
	case answer.status == http.StatusForbidden || strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "Bearer"):
		return fmt.Errorf("%s: the credentials are refused: %d %s", s.URL, answer.status, http.StatusText(answer.status))
	}
	return fmt.Errorf("%s: the credentials cannot be used: the registry asks for neither a password nor a token (WWW-Authenticate: %q)", s.URL, challenge)
}

// count counts the repositories in the catalog, if the client may see it.
func (s *remoteStatus) count(ctx context.Context) error {
	count, path := 0, "/v2/_catalog?n=1000"
	for range maxRemotePages {
		var page struct {
			Repositories []string `json:"repositories"`
		}
		answer, err := s.get(ctx, path, &page)
		if err != nil {
			return err
		}
		if answer.status != http.StatusOK {
			return nil
		}
		count += len(page.Repositories)
		s.Repositories = &count
		if answer.header.Get("Link") == "" || len(page.Repositories) == 0 {
			return nil
		}
		path = "/v2/_catalog?" + url.Values{"n": {"1000"}, "last": {page.Repositories[len(page.Repositories)-1]}}.Encode()
	}
	s.More = true
	return nil
}

// remoteAnswer is what an answer says beside its body.
type remoteAnswer struct {
	status int
	header http.Header
	// realm is what the realm of a token says that gives none. The registry has not answered then.
	realm error
}

// get sends a request, and reads the JSON of a good answer.
func (s *remoteStatus) get(ctx context.Context, path string, into any) (remoteAnswer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.String()+path, nil)
	if err != nil {
		return remoteAnswer{}, err
	}
	answer, err := s.client.Do(request)
	var realm *errcode.ErrorResponse
	if errors.As(err, &realm) && isRefusal(realm.StatusCode) {
		return remoteAnswer{status: realm.StatusCode, realm: err}, nil
	}
	if err != nil {
		return remoteAnswer{}, err
	}
	defer answer.Body.Close()
	if into != nil && answer.StatusCode == http.StatusOK {
		if err := json.NewDecoder(io.LimitReader(answer.Body, maxRemoteAnswer)).Decode(into); err != nil {
			return remoteAnswer{}, fmt.Errorf("%s%s: the answer cannot be read: %w", s.URL, path, err)
		}
	}
	return remoteAnswer{status: answer.StatusCode, header: answer.Header}, nil
}

func (s *remoteStatus) lines() []statusLine {
	lines := []statusLine{{"registry", s.URL}}
	if s.Access != "" {
		return append(lines, statusLine{"access", "credentials are needed: " + s.Access})
	}
	lines = append(lines, statusLine{"access", "granted"})
	if len(s.Extensions) > 0 {
		lines = append(lines, statusLine{"extensions", strings.Join(s.Extensions, ", ")})
	}
	text := "the list is not open to this client"
	if s.Repositories != nil {
		text = fmt.Sprint(*s.Repositories) + map[bool]string{true: " or more"}[s.More]
	}
	return append(lines, statusLine{"repositories", text})
}
