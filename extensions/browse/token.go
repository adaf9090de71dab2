package browse

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// tokenTime is how long the server that issues tokens may take.
	tokenTime = 10 * time.Second
	// maxTokenAnswer is the size of the largest answer of it that is read, in bytes.
	maxTokenAnswer = 1 << 20
	// defaultLife is how long a token is valid if the server does not say (token
	// authentication of distribution, "expires_in").
	defaultLife = time.Minute
	// maxLife is how long a cookie is kept at most, whatever the server says.
	maxLife = 12 * time.Hour
)

// newTokenClient makes the client that fetches tokens. It follows no redirection: it talks
// to the server that is configured, and to no other.
func newTokenClient() *http.Client {
	return &http.Client{
		Timeout:       tokenTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// refusedError says that the server issues no token for these credentials.
type refusedError struct{ status int }

// Error implements error.
func (e *refusedError) Error() string { return http.StatusText(e.status) }

// fetchToken asks the realm of the configuration for a token with which one may pull from
// repositories. Without a user it asks for what everybody may.
func (s *site) fetchToken(ctx context.Context, user, password string, repositories []string) (*session, error) {
	realm, err := url.Parse(s.Token.Realm)
	if err != nil {
		return nil, err
	}
	query := realm.Query()
	query.Set("service", s.Token.Service)
	query.Set("client_id", "registry-ui")
	seen := map[string]bool{}
	for _, name := range repositories {
		if !seen[name] {
			query.Add("scope", "repository:"+name+":pull")
		}
		seen[name] = true
	}
	if user != "" {
		query.Set("account", user)
	}
	realm.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return nil, err
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	answer, err := s.tokens.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &refusedError{answer.StatusCode}
	default:
		return nil, fmt.Errorf("it has answered %s", answer.Status)
	}
	return parseToken(io.LimitReader(answer.Body, maxTokenAnswer), user, time.Now())
}

// parseToken reads the answer of a server that issues tokens.
func parseToken(body io.Reader, user string, now time.Time) (*session, error) {
	var issued struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(body).Decode(&issued); err != nil {
		return nil, fmt.Errorf("its answer is not JSON: %w", err)
	}
	found := &session{User: user, Token: cmp.Or(issued.Token, issued.AccessToken)}
	if found.Token == "" {
		return nil, errors.New("its answer has no token")
	}
	life := defaultLife
	if issued.ExpiresIn > 0 {
		life = time.Duration(min(issued.ExpiresIn, int(maxLife/time.Second))) * time.Second
	}
	found.Expires = now.Add(life)
	return found, nil
}
